"""Names, and first docstring lines outside the tests: the field's words, one meaning a name."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "project" / "roilab"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted(ROOT.glob("scripts/**/*.py")), *sorted(ROOT.glob("configs/**/*.py"))]
TESTS = sorted(ROOT.glob("tests/**/*.py"))

# They say nothing of the value.
VAGUE = {"each", "found", "given", "made", "taken", "told", "wanted"}
# Names that modules of a folder share with one meaning: a command's, and a file format's.
SHARED = {"main": "cli/", "detect": "via/formats/", "parse": "via/formats/"}
# A question, as the studies' configs ask one, is none.
RIDDLE = re.compile(r"^(How|Of|That|What|Where|Which)\b(?!.*\?)|\b(mend|mended|mends|told|wish)\b")


def vague_names(tree: ast.AST) -> Iterator[str]:
    """`line N: name` of every vague name that a module gives to a value."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.arg(arg=name):
                pass
            case _:
                continue
        if name in VAGUE:
            yield f"line {node.lineno}: {name}"


def first_lines(tree: ast.Module) -> Iterator[str]:
    """First docstring lines of a module and of all its classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text.splitlines()[0]


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_values_have_names_that_say_something(path: Path) -> None:
    names = list(vague_names(ast.parse(path.read_text(encoding="utf-8"))))
    if path.name == "errors.py":  # `found=` and `expected=` are the two halves of an error
        names = [name for name in names if not name.endswith(": found")]
    assert names == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_first_lines_say_what_the_thing_is_or_does(path: Path) -> None:
    lines = first_lines(ast.parse(path.read_text(encoding="utf-8")))
    assert [line for line in lines if RIDDLE.search(line)] == []


def test_public_names_have_one_meaning() -> None:
    modules = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    twice = {name: paths for name, paths in modules.items() if len(paths) > 1}
    shared = {
        name
        for name, folder in SHARED.items()
        if all(path.startswith(folder) for path in twice.get(name, []))
    }
    assert {name: paths for name, paths in twice.items() if name not in shared} == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = 1", ["line 1: found"]),
        ("[each for each in x]", ["line 1: each"]),
        ("def f(\n    told,\n): ...", ["line 2: told"]),
        ("self.given = 1", ["line 1: given"]),
        ("for path in paths:\n    print(path, problem.found)", []),
    ],
)
def test_vague_names_are_seen(source: str, names: list[str]) -> None:
    assert list(vague_names(ast.parse(source))) == names


@pytest.mark.parametrize(
    ("line", "riddle"),
    [
        ("What one config has otherwise than another.", True),
        ("Where the user is told of it.", True),
        ("Which pooler is best for masks? On the sample set.", False),
        ("Differences between two configs, leaf by leaf.", False),
        ("Whether the wishbone is recommended.", False),
    ],
)
def test_riddles_are_seen(line: str, riddle: bool) -> None:
    assert bool(RIDDLE.search(line)) == riddle
