"""Who may import whom: the rule of the house, read from the source with ast."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "project" / "roilab"

# A room may import itself, the rooms below its own, and those beside it that are named for it.
LAYERS = (
    {
        *("", "child_process", "via", "skeleton", "draw", "errors", "escaping", "files"),
        *("image_files", "memory", "synthetic", "text"),
    },
    {"data", "device", "modeling"},
    {"cpu"},
    {"evaluation", "curation", "reporting"},
    {"engine"},
    {"sweep", "inference", "suggest"},
    {"export"},
    {"app"},
    {"cli", "__main__"},
)
NEIGHBOURS_APART = {"data", "modeling"}
PURE = LAYERS[0]
HEAVY = {"torch", "torchvision", "detectron2", "fvcore", "iopath"}
PURE_MAY = {"numpy", "cv2", "PIL"}
CATALOGS = {"DatasetCatalog", "MetadataCatalog"}
OUTSIDE = {"configs", "scripts", "tests", "benchmarks"}


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """The room of a file of the package; "" for the package's own __init__."""
    name = Path(module).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def layer_of(room: str) -> int:
    indices = [index for index, rooms in enumerate(LAYERS) if room in rooms]
    assert indices, f"room {room!r} has no place in the house: add it to LAYERS"
    return indices[0]


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    """Every name a module imports, dotted in full, also inside functions."""
    package = ("roilab", *Path(module).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = [*start, *([node.module] if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """What a module of the package does against the rule, in words."""
    tree, room = ast.parse(source), room_of(module)
    problems = []
    for name in imported(tree, module):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top in OUTSIDE:
            problems.append(f"imports {name} from outside the package")
        if top == "argparse" and room != "cli":
            problems.append("imports argparse")
        if room in PURE and top in HEAVY:
            problems.append(f"a pure room imports {name}")
        standard = top in sys.stdlib_module_names or top == "roilab"
        if room in PURE and not standard and top not in (PURE_MAY if room != "via" else ()):
            problems.append(f"a pure room imports {name}, which is not in its list")
        # `from roilab import __version__` names no room.
        if top == "roilab" and target and not target.startswith("__"):
            problems += layering(room, target)
    for node in ast.walk(tree):
        name = getattr(node, "id", None) or getattr(node, "attr", None)
        if isinstance(node, ast.ImportFrom):
            name = next((a.name for a in node.names if a.name in CATALOGS), None)
        if name in CATALOGS and room != "data":
            problems.append(f"touches {name}")
        if room != "cli" and isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            problems.append("prints")
    problems += [
        f"line {node.lineno} does something when imported"
        for node in tree.body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ]
    return problems


def layering(room: str, target: str) -> list[str]:
    if target == room:
        return []
    if layer_of(target) > layer_of(room):
        return [f"imports the room {target}, which stands above it"]
    if {room, target} == NEIGHBOURS_APART:
        return [f"imports the room {target}, which stands apart from it"]
    return []


@pytest.mark.parametrize("module", modules())
def test_module_keeps_the_rule(module: str) -> None:
    layer_of(room_of(module))
    assert violations(module, (PACKAGE / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("via/read.py", "import torch"),
        ("via/read.py", "import numpy"),
        ("draw.py", "from detectron2.structures import Boxes"),
        ("draw.py", "def f():\n    import torchvision"),
        ("skeleton.py", "from roilab.data import dicts"),
        ("data/records.py", "from roilab.modeling import poolers"),
        ("data/records.py", "from roilab import modeling"),
        ("modeling/heads.py", "from ..data import dicts"),
        ("engine/train.py", "import roilab.inference.predictor"),
        ("evaluation/coco.py", "from roilab.sweep import plan"),
        ("reporting/document.py", "from roilab.engine import config"),
        ("engine/train.py", "from configs.common import models"),
        ("engine/train.py", "import scripts.train"),
        ("engine/train.py", "import argparse"),
        ("engine/train.py", "def f():\n    print(1)"),
        ("engine/train.py", "from detectron2.data import MetadataCatalog"),
        ("evaluation/coco.py", "def f(d):\n    return d.DatasetCatalog.get('x')"),
        ("modeling/heads.py", "register('head')"),
    ],
)
def test_rule_catches(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("via/read.py", "import json\nfrom roilab.errors import UserError\nfrom . import shapes"),
        ("draw.py", "import cv2\nimport numpy as np\nfrom roilab.skeleton import Skeleton"),
        ("data/records.py", "from detectron2.data import DatasetCatalog\nfrom roilab import via"),
        ("engine/train.py", "from roilab import __version__, data, modeling, evaluation"),
        ("sweep/runner.py", "from roilab.engine import runs\nfrom .plan import Sweep"),
    ],
)
def test_rule_allows(module: str, source: str) -> None:
    assert violations(module, source) == []


def patches(source: str) -> list[str]:
    """The places of a module that change the class or a method of a living object."""
    places = []
    for node in ast.walk(ast.parse(source)):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        assigned = [x for target in targets if target is not None for x in ast.walk(target)]
        names = [x.attr for x in assigned if isinstance(x, ast.Attribute)]
        if isinstance(node, ast.Call):
            function = getattr(node.func, "attr", getattr(node.func, "id", ""))
            names += [function] if function == "MethodType" else []
            if function in ("setattr", "__setattr__"):
                names += [x.value for x in node.args if isinstance(x, ast.Constant)]
        methods = {"__class__", "MethodType", "forward", "backward", "__call__", "_call_impl"}
        places += [f"line {node.lineno}: {name}" for name in names if name in methods]
    return places


@pytest.mark.parametrize("module", modules())
def test_no_method_or_class_of_an_object_is_replaced(module: str) -> None:
    assert patches((PACKAGE / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "layer.__class__ = Faster",
        "model.backbone.forward = forward",
        "a, layer.forward = b, c",
        "layer.forward: object = f",
        "setattr(layer, 'forward', f)",
        "object.__setattr__(layer, '__class__', Faster)",
        "layer.method = types.MethodType(f, layer)",
        "layer.method = MethodType(f, layer)",
    ],
)
def test_replaced_methods_are_caught(source: str) -> None:
    assert patches(source)


def imported_by(room: str) -> set[str]:
    """The packages that a new process has after the import of a room."""
    code = f"import sys, {room}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("room", ["roilab", "roilab.via", "roilab.skeleton", "roilab.image_files"])
def test_import_is_light(room: str) -> None:
    assert not HEAVY & imported_by(room)


def test_no_command_starts_with_what_only_plots_need() -> None:
    packages = imported_by("roilab.cli.train, roilab.cli.evaluate, roilab.cli.sweep")
    assert "torch" in packages
    assert "matplotlib" not in packages
