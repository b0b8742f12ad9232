"""Where a run came from: command, config, code, versions, machine."""

import ast
import datetime
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm

import roilab
from roilab.engine.config import write_text
from roilab.engine.run import LAYOUT, Run
from roilab.errors import UserError

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pycocotools", "omegaconf")


def write_provenance(
    run: Run,
    *,
    config_file: str | Path,
    overrides: Sequence[str],
    command: Sequence[str],
    seed: int,
) -> None:
    """Note a start of a run in its run.json, and copy its config's source to `source`.

    Each start, the first and those that resume, has its own entry.

    Raises:
        UserError: run.json is damaged.
    """
    start = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "config_file": str(config_file),
        "overrides": list(overrides),
        "seed": seed,
        "processes": comm.get_world_size(),
        **_environment(),
    }
    starts = [*_starts(run), start]
    text = json.dumps({"layout": LAYOUT, "starts": starts}, indent=2)
    write_text(run.provenance_file, text + "\n")
    _copy_source(Path(config_file), run.folder / "source")


def _starts(run: Run) -> list[Any]:
    if not run.provenance_file.is_file():
        return []
    try:
        starts = json.loads(run.provenance_file.read_text(encoding="utf-8"))["starts"]
        if not isinstance(starts, list):
            raise TypeError("'starts' is no list")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the record of the run is damaged",
            file=run.provenance_file,
            found=error,
            expected='{"layout": 1, "starts": [...]}',
            remedy="delete this file; the training goes on without it",
        ) from error
    return starts


def _environment() -> dict[str, Any]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "roilab": roilab.__version__,
            "detectron2": __import__("detectron2").__version__,
            **versions,
        },
        "platform": platform.platform(),
        "cpu": _cpu(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(gpus)],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of the code that runs, with `-dirty` where files differ; None outside a git checkout."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _cpu() -> str:
    """The processor's name; platform knows it everywhere but on Linux."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _copy_source(config_file: Path, folder: Path) -> None:
    """Copy a config and the files that it imports from beside it, at their places to each other."""
    files = {config_file.resolve(): None}
    if config_file.suffix == ".py":
        for file in list(files):
            files |= dict.fromkeys(_imported(file, set(files)))
    root = config_file.resolve().parent
    for file in files:
        # What lies above the config has no place in the folder.
        if file.is_relative_to(root):
            place = folder / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def _imported(file: Path, known: set[Path]) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = file.parents[node.level - 1]
        names = [node.module] if node.module else [alias.name for alias in node.names]
        for name in names:
            found = folder.joinpath(*name.split(".")).with_suffix(".py")
            if found.is_file() and found not in known:
                known.add(found)
                yield found
                yield from _imported(found, known)
