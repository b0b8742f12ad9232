"""Names that a config that is data may refer to: a fixed list, and those that the user allows.

A config file in Python is code and may do anything. A config.yaml, of a run folder or by itself,
is data that may come from anyone: all that it can name is in `trusted_names.txt` or has been
allowed by the user, name by name. It is checked before anything that it names is imported.

`trusted_names.txt` has full names of classes, and of the few functions that configs use: the parts
of Detectron2 that configs are made of (modeling, layers, solver, transforms, structures), fvcore's
schedules and transforms, torch.nn, torch.optim, torchvision.ops, and RoILab's own. None of them
runs, imports, downloads or opens what its arguments say, but for RoILab's two data sets, which
stand in `data` alone. Not in it is whatever calls what it is given by a text: `registry.locate`,
partial, hub and file loaders, wrappers of other libraries.
"""

import contextlib
import fcntl
import functools
import importlib.resources
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.utils.registry import locate

from roilab.errors import UserError
from roilab.files import write_whole, writing

# What `config.save` writes for a class or function that is an argument: its `name` is checked as a
# target is.
LOCATE = "detectron2.utils.registry.locate"
# They open the files that their arguments name, so that they have their place.
_DATA = ("roilab.data.dataset.load", "roilab.data.from_catalog.from_catalog")
_DATA_KEYS = ("data.train", "data.val")
_REGISTER = "register"  # the argument of `from_catalog` that is a Python file, which it runs
# Packages whose names are no user's own parts.
_OTHERS = frozenset(
    {"cv2", "detectron2", "fvcore", "hydra", "iopath", "numpy", "omegaconf", "PIL", "pycocotools"}
    | {"roilab", "scipy", "torch", "torchvision", "yaml", *sys.stdlib_module_names}
)
_SHOWN = 8  # how many names a message lists


@dataclass(frozen=True)
class RefusedTarget:
    """A place of a config that names what is not allowed.

    Attributes:
        key: dotted.
        found: what stands there.
        name: what `allow` takes to allow it; None: it cannot be allowed.
        reason: None: it is only not allowed.
    """

    key: str
    found: Any
    name: str | None
    reason: str | None = None


@functools.cache
def names() -> frozenset[str]:
    """The names that every config may name."""
    text = importlib.resources.files("roilab.engine").joinpath("trusted_names.txt").read_text()
    return frozenset(text.split())


def check(data: Any, file: str | Path) -> None:
    """Make sure that a config names only what is allowed; nothing of it is imported.

    Args:
        data: dicts, lists, text and numbers, as they are read from a file.
        file: from which they are.

    Raises:
        UserError: it names something else; says how that is allowed.
    """
    refused = list(find_refused(data))
    if not refused:
        return
    first = refused[0]
    allowed = list(dict.fromkeys(each.name for each in refused if each.name is not None))
    options = " ".join(f"--trust {shlex.quote(name)}" for name in allowed[:_SHOWN])
    raise UserError(
        first.reason or "the config names code that is not known to be harmless, and is not run",
        file=file,
        key=first.key,
        found=first.found,
        expected="a part of RoILab, Detectron2 or torch that is in trusted_names.txt, or one that "
        "you have allowed",
        remedy=f"if you know this code and want it to run, add to the command: {options}"
        if len(allowed) == len({each.name or each.key for each in refused})
        else "do not use this file, or correct it: it was not written by roilab train",
    )


def find_refused(data: Any) -> Iterator[RefusedTarget]:
    """The places of a config that name what is not allowed, in their order."""
    yield from _refused(data, "", _allowed())


def _refused(value: Any, key: str, allowed: frozenset[str]) -> Iterator[RefusedTarget]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield from _refused_call(value, key, allowed)
        for name, item in value.items():
            yield from _refused(item, f"{key}.{name}".strip("."), allowed)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _refused(item, f"{key}.{index}".strip("."), allowed)
    elif isinstance(value, str) and _is_interpolated(value):
        yield RefusedTarget(
            key, value, None, "a config that is data follows no other keys or variables"
        )


def _refused_call(
    node: dict[Any, Any], key: str, allowed: frozenset[str]
) -> Iterator[RefusedTarget]:
    target, place = node["_target_"], f"{key}._target_".strip(".")
    if target == LOCATE:
        target, place = node.get("name"), f"{key}.name".strip(".")
        if set(node) != {"_target_", "name"}:
            yield RefusedTarget(key, LOCATE, None, "a named object takes its name alone")
    if not isinstance(target, str) or "." not in target or not _is_name(target):
        yield RefusedTarget(place, target, None, "a target is the full name of a class or function")
    elif target in _DATA and key not in _DATA_KEYS:
        yield RefusedTarget(
            place, target, None, f"data sets stand in {' and '.join(_DATA_KEYS)} alone"
        )
    elif target not in names() and not _is_of(target, allowed):
        yield RefusedTarget(place, target, target)
    file = node.get(_REGISTER)
    if file is not None and not (isinstance(file, str) and _file(file) in allowed):
        name = file if isinstance(file, str) and file.endswith(".py") else None
        reason = "the config names a Python file that would be run"
        yield RefusedTarget(f"{key}.{_REGISTER}".strip("."), file, name, reason)


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_interpolated(text: str) -> bool:
    """Whether OmegaConf would put something in the place of a part of a text."""
    return any(len(found[1]) % 2 == 0 for found in re.finditer(r"(\\*)\$\{", text))


def _is_of(target: str, allowed: frozenset[str]) -> bool:
    """Whether a name is allowed, or is of a class or function that an allowed module defines."""
    if target in allowed:
        return True
    parts = target.split(".")
    parents = (".".join(parts[:count]) for count in range(1, len(parts)))
    return any(parent in allowed and _defines(parent, target) for parent in parents)


def _defines(module: str, target: str) -> bool:
    """Whether a module, or one below it, defines what a name is of, and does not only import it."""
    if any(part.startswith("__") for part in target.split(".")):
        return False
    try:
        found: Any = locate(target)
    except Exception:  # whatever the user's own module raises while it is imported
        return True  # the module is allowed, and its error is told where the target is built
    place = getattr(found, "__module__", None)
    whole = f"{place}.{getattr(found, '__qualname__', '')}"
    return isinstance(place, str) and f"{place}.".startswith(f"{module}.") and whole == target


def settings_file() -> Path:
    """The file with the names that the user allows: below `XDG_CONFIG_HOME`, or ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "roilab" / "trusted.json"


def allow(given: Iterable[str]) -> list[str]:
    """Keep names in the user's settings: configs that are data may name them from now on.

    Args:
        given: full names of classes and functions, of modules, which stand for all that they
            define, or Python files that register data sets.

    Returns:
        Those that were not allowed before.

    Raises:
        UserError: one is no such name, or the settings cannot be read or written.
    """
    wanted = [_stored(name) for name in given]
    if set(wanted) <= _allowed():
        return []
    path = settings_file()
    with _locked(path):
        before = _allowed()
        new = [name for name in dict.fromkeys(wanted) if name not in before]
        if new:
            text = json.dumps({"trusted": sorted({*before, *new})}, indent=2, ensure_ascii=False)
            write_whole(path, text + "\n")
    return new


def allow_own(data: Any) -> tuple[list[str], list[str]]:
    """Allow the user's own parts that the config of a training names, since it runs them anyway.

    Not those of Python and of the packages below RoILab, such as `functools.partial`: allowed to
    all configs, they would run what a stranger's config gives them.

    Returns:
        What was not allowed before, and what is still not.

    Raises:
        UserError: the settings cannot be read or written.
    """
    refused = [each.name for each in find_refused(data) if each.name is not None]
    others = [name for name in refused if not name.endswith(".py") and _package(name) in _OTHERS]
    return allow(name for name in refused if name not in others), list(dict.fromkeys(others))


def _package(name: str) -> str:
    return name.partition(".")[0]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The block, while no other process is in it for the same file."""
    with contextlib.ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.with_name(f".{path.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stored(name: str) -> str:
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UserError("there is no such file to trust", key="--trust", file=name)
        return _file(name)
    if not _is_name(name):
        raise UserError(
            "not a name that can be trusted",
            key="--trust",
            found=name,
            expected="package.module, package.module.name, or the path of a .py file",
        )
    return name


def _file(name: str) -> str:
    """A Python file by the path that it has from everywhere."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        return str(Path(name).resolve())
    return name


def _allowed() -> frozenset[str]:
    """The names in the user's settings."""
    path = settings_file()
    try:
        if not path.is_file():
            return frozenset()
        kept = json.loads(path.read_text(encoding="utf-8"))["trusted"]
        if not isinstance(kept, list) or not all(isinstance(name, str) for name in kept):
            raise ValueError("no list of names")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            "the settings with the names that you trust cannot be read",
            file=path,
            found=error,
            expected='{"trusted": ["package.module", ...]}',
            remedy="correct this file, or delete it: --trust NAME makes a new one",
        ) from error
    return frozenset(kept)
