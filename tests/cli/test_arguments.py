"""Options and other words of a command line: order, errors, and where they are named."""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import roilab.cli
from roilab import via
from roilab.cli.arguments import parser_of
from roilab.cli.console import PrintableRecord, print_error
from roilab.cli.shared_arguments import (
    CONVERT_KINDS,
    EXPORT_FORMATS,
    PREDICT_KINDS,
    PUBLISHED_TABLES,
)
from roilab.errors import UserError
from roilab.evaluation.published import TABLES
from roilab.export import FORMATS
from roilab.inference.sinks import KINDS

CLI = Path(roilab.cli.__file__).parent
OVERRIDES = ["train.max_iter=5", "data.train.files=via (1).json"]
# A command, options that it needs, another option, words that are no override.
COMMANDS = {
    "train": (["--config-file", "c.py"], ["--eval-only"], []),
    "sweep": (["--output", "o"], ["--slurm", "timeout_min=600"], ["file.py"]),
    "predict": (["--run", "r", "--output", "o"], ["--input", "a", "b"], []),
    "evaluate": (["--run", "r"], ["--data", "a.json", "b.json"], []),
    "export": (["--run", "r", "--output", "o"], ["--format", "onnx"], []),
    "config": (["--key", "model"], [], ["show", "c.py"]),
}


def parse(name: str, words: list[str]) -> Any:
    return parser_of(name, None).parse_args(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_any_order_means_the_same(name: str) -> None:
    needed, more, words = COMMANDS[name]
    orders = itertools.permutations([needed, more, [*words, OVERRIDES[0]], OVERRIDES[1:]])
    expected = parse(name, [*needed, *more, *words, *OVERRIDES])
    assert list(getattr(expected, "overrides", None) or expected.rest) == OVERRIDES
    for order in orders:
        if order.index(OVERRIDES[1:]) < order.index([*words, OVERRIDES[0]]):
            continue  # the last of two overrides counts
        assert parse(name, [word for part in order for word in part]) == expected, order


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
    images = ["--images", "photos [1]", "more.json", "not there"]
    first = parse(f"data {name}", [*images, *words])
    assert first == parse(f"data {name}", [*words, *images])
    assert first.images == [Path(word) for word in images[1:]]


@pytest.mark.parametrize("first", [[], ["--skeleton", "s.json"], ["train.seed=1"]])
def test_an_override_after_two_options_of_several_is_none_of_their_values(first: list[str]) -> None:
    several = ["--train", "a.json", "b.json", "--images", "photos"]
    args = parse("config suggest", ["--output", "o.py", *first, *several, *OVERRIDES])
    assert args.train == [Path("a.json"), Path("b.json")]
    assert args.images == [Path("photos")]
    assert args.overrides == [word for word in [*first, *OVERRIDES] if "=" in word]


def test_a_file_that_looks_like_an_override_is_a_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.b=1.jpg").touch()
    words = ["--run", "r", "--output", "o", "--input", "a.b=1.jpg", "a.b=2.jpg"]
    args = parse("predict", words)
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
        parse("train", arguments)
    assert exit_status.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "problem"),
    [
        ("figures", ["--frames", "0"], "'0' is no whole number from 1 on"),
        ("predict", ["--limit", "2.5"], "'2.5' is no whole number from 1 on"),
        ("predict", ["--batch", "-1"], "'-1' is no whole number from 1 on"),
        ("predict", ["--threshold", "7"], "'7' is no score, a number from 0 to 1"),
        ("evaluate", ["--score", "nan"], "'nan' is no score, a number from 0 to 1"),
        ("sweep", ["--jobs", ""], "'' is no whole number from 1 on"),
    ],
)
def test_a_number_out_of_range_is_refused(
    name: str, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_status:
        parse(name, words)
    assert exit_status.value.code == 2
    assert f"argument {words[0]}: {problem}" in capsys.readouterr().err


def test_help_lists_positional_words(capsys) -> None:
    with pytest.raises(SystemExit):
        parse("sweep", ["-h"])
    assert "overrides of all arms" in capsys.readouterr().out


def test_choices_are_those_of_the_package() -> None:
    """The arguments repeat them, so that nothing is imported for them."""
    assert sorted(PREDICT_KINDS) == sorted(KINDS)
    assert EXPORT_FORMATS == FORMATS
    assert (*via.WRITERS, "coco") == CONVERT_KINDS
    assert tuple(TABLES) == PUBLISHED_TABLES


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("roilab tr", {"train"}),
        ("roilab train --re", {"--resume", "--replay"}),
        ("roilab train --config-file mask_rcnn_R_50_FPN_1x", {"mask_rcnn_R_50_FPN_1x"}),
        ("roilab data augmented --config-file mask_rcnn_R_50_FPN_1x", {"mask_rcnn_R_50_FPN_1x"}),
        ("roilab config show small_m", {"small_mask", "small_mask_keypoint"}),
        ("roilab config suggest --val", {"--val", "--val-images"}),
        ("roilab config suggest --base small_k", {"small_keypoint"}),
        ("roilab sweep ablations/pooler_s", {"ablations/pooler_stride"}),
        ("roilab data check --class-", {"--class-attribute", "--class-map"}),
        ("roilab export --format torch", {"torchscript"}),
        ("roilab doctor --run o", {"outputs/"}),
    ],
)
def test_the_shell_completes(line: str, completions: set[str], tmp_path: Path) -> None:
    """By argcomplete's protocol: variables of the environment, and the answer in a file."""
    (tmp_path / "outputs").mkdir()
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": "answer",
    }
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    path = {"PYTHONPATH": str(CLI.parents[1])}
    code = "from roilab.__main__ import main; import sys; main()"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=asked | path, check=True)
    answer = (tmp_path / "answer").read_text().split("\n")
    assert {word.strip() for word in answer} == completions


# Options of other programs: git, scontrol, torchrun.
FOREIGN = {"--no-optional-locks", "--error-unmatch", "--oneliner", "--nproc-per-node"}


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
    assert named == {}
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


@pytest.mark.parametrize("name", ["run=null", "resume=false", "max_memory=much", "seeds=[1, 2]"])
def test_a_name_that_looks_like_an_argument_stays(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(UserError("wrong", found=f"car, {name}"))
    assert capsys.readouterr().err == f"error: wrong\n  found:    car, {name}\n"


def test_warnings_are_called_so_before_there_is_a_log() -> None:
    code = """
from roilab.cli.console import set_up
import logging
set_up()
log = logging.getLogger("roilab.anything")
log.warning("%d keypoints", 3)
log.warning("warning: a.json: %s", "twice")
log.error("error: b.json")
log.info("nobody asks for it")
"""
    path = {"PYTHONPATH": str(CLI.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True)
    said = ["warning: 3 keypoints", "warning: a.json: twice", "error: b.json"]
    assert done.stderr.splitlines() == said
