"""Options and other words of a command line: order, errors, and where they are named."""

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import roilab.cli
from roilab.cli.console import PrintableRecord, print_error
from roilab.cli.parser import Parser
from roilab.errors import UserError

CLI = Path(roilab.cli.__file__).parent
OVERRIDES = ["train.max_iter=5", "data.train.files=via (1).json"]
# A script, the function that parses, options that it needs, words that are no override.
COMMANDS = {
    "train": (["--config-file", "c.py"], ["--eval-only"], []),
    "sweep": (["--output", "o"], ["--slurm", "timeout_min=600"], ["file.py"]),
    "predict": (["--run", "r", "--output", "o"], ["--input", "a", "b"], []),
    "evaluate": (["--run", "r"], ["--data", "a.json", "b.json"], []),
    "export": (["--run", "r", "--output", "o"], ["--format", "onnx"], []),
    "config": (["--key", "model"], [], ["show", "c.py"]),
}


def command(name: str) -> ModuleType:
    return importlib.import_module(f"roilab.cli.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_any_order_means_the_same(name: str) -> None:
    parse = command(name).parse
    needed, more, words = COMMANDS[name]
    orders = itertools.permutations([needed, more, [*words, OVERRIDES[0]], OVERRIDES[1:]])
    wanted = parse([*needed, *more, *words, *OVERRIDES])
    assert list(getattr(wanted, "overrides", None) or wanted.rest) == OVERRIDES
    for order in orders:
        if order.index(OVERRIDES[1:]) < order.index([*words, OVERRIDES[0]]):
            continue  # the last of two overrides counts
        assert parse([word for part in order for word in part]) == wanted, order


def data_command(name: str) -> Any:
    parser = Parser()
    importlib.import_module(f"roilab.cli.data_commands.{name}").add_arguments(parser)
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
    args = command("predict").parse(
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
        command("train").parse(arguments)
    assert exit_status.value.code == 2
    assert said in capsys.readouterr().err


def test_help_lists_positional_words(capsys) -> None:
    with pytest.raises(SystemExit):
        command("sweep").parse(["-h"])
    assert "overrides of all arms" in capsys.readouterr().out


def test_every_command_parses_in_one_way() -> None:
    """But `roilab` itself and the app, whose other words are another command's."""
    for path in CLI.rglob("*.py"):
        if path.name not in ("main.py", "app.py", "parser.py"):
            assert "ArgumentParser(" not in path.read_text(encoding="utf-8"), path


# Options of other programs: git, scontrol, torchrun.
FOREIGN = {"--no-optional-locks", "--error-unmatch", "--oneliner", "--nproc-per-node"}
# Still to do: they name options of ours, or print and exit.
TO_DO = {
    "app/page.py",
    "data/dataset.py",
    "export/formats.py",
    "export/parity.py",
    "sweep/cluster.py",
    "sweep/definition.py",
    "sweep/job.py",
    "sweep/plan.py",
    "sweep/runner.py",
    "via/coco_objects.py",
}


def command_line_in(tree: ast.AST) -> Iterator[str]:
    """The options that a module names, and what of a command line it uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"--[a-z]+:|var\(--[a-z]+\)", "", node.value)  # variables of CSS
            yield from set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - FOREIGN
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            yield from names & {"argparse"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit"):
            yield ast.unparse(node)


def test_only_commands_name_options_print_and_exit() -> None:
    package = CLI.parent
    named = {}
    for path in package.rglob("*.py"):
        if CLI not in path.parents:
            lines = sorted(command_line_in(ast.parse(path.read_text(encoding="utf-8"))))
            named |= {str(path.relative_to(package)): lines} if lines else {}
    assert {file: lines for file, lines in named.items() if file not in TO_DO} == {}
    source = 'import argparse\nsys.exit(print("add --resume, as in git --oneliner"))'
    assert len(list(command_line_in(ast.parse(source)))) == 4


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("go on with resume=true", "go on with --resume"),
        ('allow it: trust=["a.b", "my file.py"]', "allow it: --trust a.b --trust 'my file.py'"),
        (
            'accept=["config.yaml", "b"], max_memory=5000000001',
            "--accept config.yaml b, --max-memory 6",
        ),
        ('slurm={"timeout_min": "600"}', "--slurm timeout_min=600"),
        ("dist_url=tcp train.resume=true resume", "--dist-url tcp train.resume=true resume"),
    ],
)
def test_messages_have_options_in_place_of_parameters(
    text: str, printed: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert print_error(UserError("wrong", key="num_gpus", remedy=text)) == 2
    assert capsys.readouterr().err == (
        f"error: wrong\n  key:      --num-gpus\n  remedy:   {printed}\n"
    )
    assert PrintableRecord("log", 0, "", 0, "%s", (text,), None).getMessage() == printed
