"""Options and other words of a command line in any order, in every script."""

import importlib
import importlib.util
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
OVERRIDES = ["train.max_iter=5", "data.train.files=via (1).json"]
# A script, the function that parses, options that it needs, words that are no override.
COMMANDS = {
    "train": (["--config-file", "c.py"], ["--eval-only"], []),
    "sweep": (["--output", "o"], ["--slurm", "timeout_min=600"], ["file.py"]),
    "demo": (["--run", "r", "--output", "o"], ["--input", "a", "b"], []),
    "evaluate": (["--run", "r"], ["--data", "a.json", "b.json"], []),
    "export": (["--run", "r", "--output", "o"], ["--format", "onnx"], []),
    "config": (["--key", "model"], [], ["show", "c.py"]),
}


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_command", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", COMMANDS)
def test_any_order_means_the_same(name: str) -> None:
    parse = script(name).parse
    needed, more, words = COMMANDS[name]
    orders = itertools.permutations([needed, more, [*words, OVERRIDES[0]], OVERRIDES[1:]])
    wanted = parse([*needed, *more, *words, *OVERRIDES])
    assert list(getattr(wanted, "overrides", None) or wanted.rest) == OVERRIDES
    for order in orders:
        if order.index(OVERRIDES[1:]) < order.index([*words, OVERRIDES[0]]):
            continue  # the last of two overrides counts
        assert parse([word for part in order for word in part]) == wanted, order


def data_command(name: str) -> Any:
    parser = importlib.import_module("_arguments").Parser()
    importlib.import_module(f"data_commands.{name}").add_arguments(parser)
    return parser


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("check", ["via (1).json"]),
        ("draw", ["a.json", "b.csv"]),
        ("split", ["a.json", "--output", "out"]),
        ("convert", ["a.json", "new.json", "--to", "coco"]),
    ],
)
def test_files_may_follow_the_folders_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos [1]", "more.json"):
        (tmp_path / folder).mkdir()
    parser = data_command(name)
    images = ["--images", "photos [1]", "more.json", "not there"]
    first, last = parser.parse_args([*images, *words]), parser.parse_args([*words, *images])
    assert first == last
    assert first.images == [Path(word) for word in images[1:]]


def test_a_file_that_looks_like_an_override_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.b=1.jpg").touch()
    args = script("demo").parse(
        ["--run", "r", "--output", "o", "--input", "a.b=1.jpg", "a.b=2.jpg"]
    )
    assert args.input == ["a.b=1.jpg"]
    assert args.overrides == ["a.b=2.jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--confg-file", "c.py"], "unknown option --confg-file; perhaps --config-file"),
        (["--config-file", "c.py", "a.b=1", "--resumee"], "perhaps --resume"),
        (["--config-file", "c.py", "--xyz=3"], "unknown option --xyz; --help lists all"),
        (["--config-file", "c.py", "-x"], "not understood: -x"),
        (["a.b=1"], "--config-file"),
    ],
)
def test_an_unknown_option_names_the_nearest(capsys, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as exit_status:
        script("train").parse(arguments)
    assert exit_status.value.code == 2
    assert said in capsys.readouterr().err


def test_help_lists_positional_words(capsys) -> None:
    with pytest.raises(SystemExit):
        script("sweep").parse(["-h"])
    assert "overrides of all arms" in capsys.readouterr().out


def test_every_script_parses_in_one_way() -> None:
    """But the app and the tests on older processors: their other words are another command's."""
    for path in SCRIPTS.glob("*.py"):
        if path.name not in ("app.py", "_arguments.py", "test_processors.py"):
            assert "ArgumentParser(" not in path.read_text(encoding="utf-8"), path
