"""Provenance of a run: its starts (command, config, code, machine), and fingerprints of its data.

By the fingerprints a resumed training notices that its data have changed.
"""

import ast
import contextlib
import datetime
import importlib.metadata
import os
import pickle
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import detectron2
import torch
from detectron2.utils import comm

import roilab
from roilab.data.dataset import DetectionDataset
from roilab.data.workers import available_cores
from roilab.engine.run_folder import Run
from roilab.engine.run_record import LAYOUT, Digest, read_record, write_record
from roilab.files import part_of_folder, read_bytes
from roilab.text import first_of

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pycocotools", "omegaconf")
_PACKAGE = Path(roilab.__file__).resolve().parent


@dataclass(frozen=True)
class ConfigSource:
    """The source of a config, for the record.

    Attributes:
        command: that started the training.
        resume_command: that goes on with it.
    """

    config_file: str | Path
    overrides: Sequence[str] = ()
    command: Sequence[str] = ()
    resume_command: Sequence[str] = ()


def write_provenance(run: Run, source: ConfigSource, seed: int) -> None:
    """Write a start of a run into its run.json, and copy its config's source to `source`.

    Each start, the first and those that resume, has its own entry.
    """
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    start = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(source.command),
        "config_file": str(source.config_file),
        "overrides": list(source.overrides),
        "seed": seed,
        "processes": comm.get_world_size(),
        "code": _code(_PACKAGE),
        "versions": _versions(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": available_cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
    }
    record = read_record(run.folder)
    starts = [*record["starts"], start]
    write_record(run.folder, {**record, "layout": LAYOUT, "starts": starts})
    _copy_source(Path(source.config_file), run.folder / "source")


def _versions() -> dict[str, str | None]:
    """The versions of Python and of packages, by name; None: not installed."""
    versions = {
        "python": platform.python_version(),
        "roilab": roilab.__version__,
        "detectron2": detectron2.__version__,
        "cuda": torch.version.cuda,
        **dict.fromkeys(_PACKAGES),
    }
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _processor() -> str:
    """The name of the processor, which `platform` knows everywhere but on Linux."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _code(folder: Path) -> dict[str, str | bool] | None:
    """The git commit of a package, and whether its files differ from it; None if not in git."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        quiet = subprocess.DEVNULL
        return subprocess.check_output(command, cwd=folder, stderr=quiet, text=True, timeout=20)

    try:
        # An installed package may lie in somebody else's repository, which does not know it.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": git("status", "-s", ".") != ""}
    except (OSError, subprocess.SubprocessError):
        return None


def _copy_source(config_file: Path, folder: Path) -> None:
    """Copy a config and the files it imports into a folder, in their places relative to each other.

    The folder is replaced. A config of the run folder itself is not copied.
    """
    # Links stay links: a relative import starts from where the link is.
    main = Path(os.path.abspath(config_file))  # noqa: PTH100
    if folder.parent.absolute() in main.parents:
        return
    files = [main]
    for file in files:  # grows
        text = file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
        for node in ast.walk(ast.parse(text)):
            # The only relative form of an import that Detectron2 allows in a lazy config.
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                path = file.parents[node.level - 1] / f"{node.module.replace('.', '/')}.py"
                if path.is_file() and path not in files:  # a config may go on without it
                    files.append(path)
    root = Path(os.path.commonpath([file.parent for file in files]))
    with part_of_folder(folder) as copy:
        for file in files:
            place = copy / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        shutil.rmtree(folder, ignore_errors=True)
        copy.rename(folder)


def data_fingerprint(dataset: DetectionDataset, files: Sequence[str]) -> dict[str, Any]:
    """The fingerprint of a data set, which changes with the data; it takes one `stat` an image.

    Places do not count: a copy in another folder has the same `records` and `sizes`.

    Args:
        files: its annotation files, if there are any.

    Returns:
        `annotations`, a digest a file, none for a folder of Cityscapes; `images`, their number;
        digests of `records` (the images' names and sizes in pixels, and their annotations, in
        order, with classes and keypoints), of `sizes` (of the image files, in bytes) and of `times`
        (when these were written); `latest`, the last of these, in nanoseconds since 1970.
    """
    sizes = []
    times = []
    for record in dataset.records:
        size, time = _size_and_time(record["file_name"])
        sizes.append(size)
        times.append(time)
    records = Digest()
    pickler = pickle.Pickler(SimpleNamespace(write=records.update), protocol=5)
    pickler.fast = True  # the same object twice is written twice: only values count
    pickler.dump((dataset.classes, dataset.skeleton and asdict(dataset.skeleton)))
    for record in dataset.records:
        pickler.dump({**record, "file_name": os.path.basename(record["file_name"])})  # noqa: PTH119
    return {
        "annotations": [str(Digest(read_bytes(file))) for file in files if not Path(file).is_dir()],
        "images": len(dataset),
        "records": str(records),
        "sizes": str(Digest(repr(sizes).encode())),
        "times": str(Digest(repr(times).encode())),
        "latest": max(times, default=0),
    }


def _size_and_time(path: str) -> tuple[int, int]:
    """Bytes and time of a file; zeros where it is missing, which its reader reports."""
    with contextlib.suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, for many images
        return status.st_size, status.st_mtime_ns
    return 0, 0


def data_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], data: DetectionDataset
) -> tuple[list[str], list[str]]:
    """The changes of a data set that affect a training, or if there are none, those that do not.

    Times are among the latter, since copies may have other ones.
    """
    changes = []
    harmless = []
    if before["images"] != now["images"]:
        changes.append(f"{now['images']} images in place of {before['images']}")
    elif before["records"] != now["records"]:
        changes.append("other annotations, classes or names of images")
    if before["sizes"] != now["sizes"]:
        changes.append("image files of other sizes")
    if changes:
        # The images that were written since are where to look first.
        latest = before["latest"]
        paths = [record["file_name"] for record in data.records]
        newer = [path for path in paths if _size_and_time(path)[1] > latest]
        if newer:
            date = datetime.datetime.fromtimestamp(latest / 1e9, datetime.UTC)
            since = date.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
            changes.append(f"written after {since} UTC: {first_of(newer)}")
        return changes, []
    if before["annotations"] != now["annotations"]:
        harmless.append("the annotation files were written anew, and mean the same")
    if before["times"] != now["times"]:
        harmless.append("image files have other times and the same sizes, as copies do")
    return [], harmless
