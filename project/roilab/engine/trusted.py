"""Configs as data: plain, bounded YAML that names only trusted code.

A config file in Python is code and may do anything. A config.yaml, of a run folder or by itself,
is data that may come from anyone: everything that it names has to be in `trusted_names.txt` or
allowed by the user, name by name. This is checked before anything that it names is imported.

`trusted_names.txt` has full names of classes, and of the few functions that configs use: the parts
of Detectron2 that configs are made of (modeling, layers, solver, transforms, structures), fvcore's
schedules and transforms, torch.nn, torch.optim, torchvision.ops, and RoILab's own. None of them
runs, imports, downloads or opens what its arguments say, except RoILab's two data sets, which may
stand in `data` alone. Not in it is whatever calls an argument by its name: `registry.locate`,
partial, hub and file loaders, wrappers of other libraries.

A config or a name that is refused is a UserError.
"""

import contextlib
import fcntl
import functools
import importlib.resources
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.utils.registry import locate

from roilab.engine.run_record import read_verified
from roilab.errors import UserError, argument
from roilab.files import decode, write_whole, writing

# What `config.save_config` writes for a class or function that is an argument; its `name` is
# checked as a target is.
LOCATE = "detectron2.utils.registry.locate"
# They open the files that their arguments name, so they may stand in these places alone.
_DATA = ("roilab.data.dataset.load_dataset", "roilab.data.from_catalog.from_catalog")
_DATA_KEYS = ("data.train", "data.val")
_REGISTER = "register"  # the argument of `from_catalog` that is a Python file, which it runs
# Packages whose names are no user's own parts.
_PACKAGES = (
    "cv2 detectron2 fvcore hydra iopath numpy omegaconf PIL pycocotools roilab scipy torch "
    "torchvision yaml"
)
_OTHERS = sys.stdlib_module_names | set(_PACKAGES.split())
_INTERPOLATION = re.compile(r"(?<!\\)(\\\\)*\$\{")  # a part that OmegaConf would replace
_SHOWN = 8  # how many names a message lists
# A config has some hundred values, most of them class names.
MAX_BYTES = 4 * 2**20
MAX_VALUES = 100_000
MAX_DEPTH = 64
# What a text raises that is not YAML, or that OmegaConf cannot take.
NOT_PLAIN_DATA = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class _BoundedLoader(yaml.SafeLoader):
    """YAML's safe loader without tags; depth, and values with aliases expanded, are bounded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.values = 0
        self.sizes: dict[int, int] = {}  # values in a node, by its identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()

        def refused(problem: str) -> yaml.YAMLError:
            return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)

        if getattr(event, "tag", None) is not None:
            raise refused(f"the tag {event.tag}")
        is_alias = isinstance(event, yaml.AliasEvent)
        before = self.values
        self.depth += 1
        self.values += 1
        if self.depth > MAX_DEPTH:
            raise refused(f"more than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if is_alias and id(node) not in self.sizes:
            raise refused("an alias of a node that contains it")
        if is_alias:
            self.values = before + self.sizes[id(node)]
        self.sizes[id(node)] = self.values - before
        if self.values > MAX_VALUES:
            raise refused(f"more than {MAX_VALUES:,} values")
        return node


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file that may come from anyone: dicts, lists, text, numbers, dates."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        size = f"more than {MAX_BYTES // 2**20} MiB"
        raise UserError("not a saved config", file=path, found=size)
    text = decode(read_verified(path, what="the config"), path, what="the config")
    try:
        return yaml.load(text, _BoundedLoader)
    except NOT_PLAIN_DATA as error:
        raise UserError("not a saved config", file=path, found=error) from error


@dataclass(frozen=True)
class RefusedTarget:
    """A place of a config that names code that is not allowed.

    Attributes:
        key: dotted.
        value: at the key.
        name: what `allow` takes to allow it; None: it cannot be allowed.
        reason: None: it is only not allowed yet.
    """

    key: str
    value: Any
    name: str | None
    reason: str | None = None


@functools.cache
def listed_names() -> frozenset[str]:
    """The names that every config may name."""
    text = importlib.resources.files("roilab.engine").joinpath("trusted_names.txt").read_text()
    return frozenset(text.split())


def refuse_untrusted(data: Any, file: str | Path) -> None:
    """Make sure that a config, of a file, names only what is allowed; nothing of it is imported."""
    refused = list(find_refused(data))
    if not refused:
        return
    first = refused[0]
    names = list(dict.fromkeys(target.name for target in refused if target.name is not None))
    parts = argument("trust", names[:_SHOWN])
    raise UserError(
        first.reason or "the config names code that is not known to be harmless, and is not run",
        file=file,
        key=first.key,
        found=first.value,
        expected="a part of RoILab, Detectron2 or torch that is in trusted_names.txt, or one that "
        "you have allowed",
        remedy=f"if you know this code and want it to run, add to the command: {parts}"
        if all(target.name for target in refused)
        else "do not use this file, or correct it: it was not written by roilab train",
    )


def find_refused(
    value: Any, key: str = "", allowed: frozenset[str] | None = None
) -> Iterator[RefusedTarget]:
    """The places of a config, or of the value of a key, that name what is not allowed.

    Args:
        key: of the value; "": it is a whole config.
        allowed: names beside those of trusted_names.txt; None: those of the user's settings.
    """
    allowed = _allowed() if allowed is None else allowed
    if isinstance(value, str) and _INTERPOLATION.search(value):
        reason = "a config that is data refers to no other keys or variables"
        yield RefusedTarget(key, value, None, reason)
    if isinstance(value, dict) and "_target_" in value:
        yield from _refused_call(value, key, allowed)
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for name, item in value.items():
            yield from find_refused(item, f"{key}.{name}".strip("."), allowed)


def _refused_call(
    node: dict[Any, Any], key: str, allowed: frozenset[str]
) -> Iterator[RefusedTarget]:
    """The refused names of a call: its target, or that of `LOCATE`, and the file that it runs."""
    target = node["_target_"]
    place = f"{key}._target_".strip(".")
    if target == LOCATE:
        target = node.get("name")
        place = f"{key}.name".strip(".")
        if set(node) != {"_target_", "name"}:
            yield RefusedTarget(key, LOCATE, None, "a named object takes its name alone")
    if not isinstance(target, str) or "." not in target or not _is_name(target):
        yield RefusedTarget(place, target, None, "a target is the full name of a class or function")
    elif target in _DATA and key not in _DATA_KEYS:
        reason = f"data sets stand in {' and '.join(_DATA_KEYS)} alone"
        yield RefusedTarget(place, target, None, reason)
    elif target not in listed_names() and not _is_of(target, allowed):
        yield RefusedTarget(place, target, target)
    file = node.get(_REGISTER)
    if file is not None and not (isinstance(file, str) and _full_path(file) in allowed):
        name = file if isinstance(file, str) and file.endswith(".py") else None
        reason = "the config names a Python file that would be run"
        yield RefusedTarget(f"{key}.{_REGISTER}".strip("."), file, name, reason)


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_of(target: str, allowed: frozenset[str]) -> bool:
    """Whether a name is allowed, or an allowed module, or one below it, itself defines it."""
    if target in allowed:
        return True
    parts = target.split(".")
    modules = allowed & {".".join(parts[:count]) for count in range(1, len(parts))}
    if not modules or any(part.startswith("__") for part in parts):
        return False
    try:
        part: Any = locate(target)
    except Exception:  # whatever the user's own module raises while it is imported
        return True  # the module is allowed, and its error is raised where the target is built
    place = f"{getattr(part, '__module__', None)}."
    is_within = any(place.startswith(f"{module}.") for module in modules)
    return is_within and f"{place}{getattr(part, '__qualname__', '')}" == target


def settings_file() -> Path:
    """The file with the names that the user allows: below `XDG_CONFIG_HOME`, or ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "roilab" / "trusted.json"


def allow(names: Iterable[str]) -> list[str]:
    """Keep names in the user's settings: configs that are data may name them from now on.

    Args:
        names: full names of classes and functions, of modules, which stand for everything that
            they define, or Python files that register data sets.

    Returns:
        The names that were not allowed before.
    """
    names = list(dict.fromkeys(map(_checked, names)))
    if set(names) <= _allowed():
        return []
    path = settings_file()
    with contextlib.ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.with_name(f".{path.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        before = _allowed()  # another process may have allowed some meanwhile
        new = [name for name in names if name not in before]
        if new:
            text = json.dumps({"trusted": sorted({*before, *new})}, indent=2, ensure_ascii=False)
            write_whole(path, text + "\n")
    return new


def allow_own_parts(data: Any) -> list[str]:
    """Allow the user's own parts that the config of a training names, since it runs them anyway.

    Not those of Python and of the packages below RoILab, such as `functools.partial`: allowed to
    all configs, they would run what a stranger's config gives them.

    Returns:
        Notes for the log: parts that were not allowed before, and those that are still not.
    """
    try:
        targets = find_refused(data)
        refused = list(dict.fromkeys(target.name for target in targets if target.name is not None))
        own = [
            name for name in refused if name.endswith(".py") or name.split(".")[0] not in _OTHERS
        ]
        others = [name for name in refused if name not in own]
        allowed = allow(own)
    except UserError as error:  # such as a home folder that may not be written
        return [f"parts of your own are not noted as allowed, and the run folder asks: {error}"]
    notes = []
    if allowed:
        noted = f"{', '.join(allowed)} (kept in {settings_file()})"
        notes.append(f"run folders may name these parts from now on, as your own: {noted}")
    if others:
        notes.append(
            f"run folders may not name {', '.join(others)}, which is not your own: to open this "
            f"run, add to the command {argument('trust', others)}"
        )
    return notes


def _checked(name: str) -> str:
    """A name as the settings have it."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UserError("there is no such file to trust", key="trust", file=name)
        return _full_path(name)
    if not _is_name(name):
        message = "not a name that can be trusted"
        expected = "package.module, package.module.name, or the path of a .py file"
        raise UserError(message, key="trust", found=name, expected=expected)
    return name


def _full_path(name: str) -> str:
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        return str(Path(name).resolve())
    return name


def _allowed() -> frozenset[str]:
    """The names in the user's settings; UserError where the file is damaged."""
    path = settings_file()
    try:
        if not path.is_file():
            return frozenset()
        names = json.loads(path.read_text(encoding="utf-8"))["trusted"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("no list of names")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            "the settings with the names that you trust cannot be read",
            file=path,
            found=error,
            expected='{"trusted": ["package.module", ...]}',
            remedy="correct this file, or delete it: trust=NAME makes a new one",
        ) from error
    return frozenset(names)
