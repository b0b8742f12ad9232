"""Provenance of a run: command, config, code, versions, machine."""

import ast
import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.utils import comm

import roilab
from roilab.data.workers import cores
from roilab.engine.run_folder import Run
from roilab.engine.run_record import read_record, write_record
from roilab.files import part_of_folder

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pycocotools", "omegaconf")
_PACKAGE = Path(roilab.__file__).resolve().parent


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
        UserError: run.json is damaged, or of a newer layout.
    """
    start = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "config_file": str(config_file),
        "overrides": list(overrides),
        "seed": seed,
        "processes": comm.get_world_size(),
        "code": code(),
        "versions": versions(),
        **machine(),
    }
    record = read_record(run.folder)
    files = record.get("files", {})
    write_record(
        run.folder, {**record, "starts": [*record.get("starts", []), start], "files": files}
    )
    copy_source(Path(config_file), run.folder / "source")


def versions() -> dict[str, str | None]:
    """Versions of Python and of packages that affect results; None: not installed."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "roilab": roilab.__version__,
        "detectron2": detectron2.__version__,
        "cuda": torch.version.cuda,
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def code(folder: Path = _PACKAGE) -> dict[str, str | bool] | None:
    """The git commit of the package, and whether its files differ from it; None if not in git."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    try:
        # An installed package may lie in somebody else's repository, which does not know it.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "-s", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> dict[str, Any]:
    """The kind of machine, without its name."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
    }


def _cpu() -> str:
    """The processor's name; `platform` knows it everywhere but on Linux."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    named = [line for line in text.splitlines() if line.startswith("model name")]
    return named[0].partition(":")[2].strip() if named else platform.processor()


def copy_source(config_file: Path, folder: Path) -> None:
    """Make a folder that holds a config and the files it imports, at their places to each other.

    What the folder held is gone. A config of the run folder itself is no source.
    """
    # Links stay links: a relative import starts from where the link is.
    main = Path(os.path.abspath(config_file))  # noqa: PTH100
    if folder.parent.absolute() in main.parents:
        return
    files = _sources(main)
    root = Path(os.path.commonpath([file.parent for file in files]))
    # Copied whole before it takes its place.
    with part_of_folder(folder) as copy:
        for file in files:
            place = copy / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        shutil.rmtree(folder, ignore_errors=True)
        copy.rename(folder)


def _sources(main: Path) -> list[Path]:
    """A config and, if it is Python, the files that it imports relatively, and they in turn."""
    files = [main]
    for file in files:  # grows
        if file.suffix == ".py":
            files += [each for each in _imported(file) if each not in files]
    return files


def _imported(file: Path) -> list[Path]:
    """The files that a lazy config imports, by the only relative form that Detectron2 allows."""
    return [
        file.parents[node.level - 1].joinpath(f"{node.module.replace('.', '/')}.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level and node.module
    ]
