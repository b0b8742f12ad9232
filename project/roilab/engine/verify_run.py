"""A run folder verified file by file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roilab.engine import checkpoint, config
from roilab.engine.run_folder import LAST, Run
from roilab.engine.run_record import ABSENT, RECORD, digests, read_record, verify
from roilab.errors import UserError
from roilab.files import read_bytes, read_json

_RESULTS = re.compile(r"results\w*\.json")


@dataclass(frozen=True)
class FileState:
    """The state of a file of a run folder.

    Attributes:
        kind: `sound` is as its digest says, `unverified` has none and can be read, `removed` is a
            checkpoint that is not there any more, `gone` another file, `damaged` is not as its
            digest says or cannot be read.
        reason: of a file that is damaged.
    """

    name: str
    kind: Literal["sound", "unverified", "removed", "gone", "damaged"]
    reason: str = ""


def verify_run(folder: Path) -> list[FileState]:
    """The state of each file of a run that is read after the training, by name.

    Raises:
        UserError: there is no run in the folder.
    """
    run = Run(folder)
    if not folder.is_dir():
        raise UserError("there is no such folder", key="--run", file=folder)
    try:
        read_record(folder)
    except UserError as error:
        return [FileState(RECORD, "damaged", str(error))]
    known = {
        name: found
        for name, found in digests(folder).items()
        if ABSENT not in found or (folder / name).exists()
    }
    names = {*known, run.config_file.name, "classes.json"}
    names |= {path.name for path in folder.iterdir() if _is_read(path.name)}
    return [_state(run, name, known=name in known) for name in sorted(names)]


def _is_read(name: str) -> bool:
    """Whether something reads a file by this name, or once did."""
    others = (RECORD, LAST, "category_ids.json", "skeleton.json", "metrics.json")
    detections = "coco_instances_results.json"
    return (
        name in (*others, detections)
        or name.endswith(".pth")
        or _RESULTS.fullmatch(name) is not None
    )


def _state(run: Run, name: str, *, known: bool) -> FileState:
    path = run.folder / name
    if not path.exists():
        return FileState(name, "removed" if name.endswith(".pth") else "gone")
    try:
        if name.endswith(".pth"):
            with checkpoint.verified(path):
                pass
        elif known:
            verify(path, read_bytes(path))
        else:
            _read(run, name)
    except UserError as error:
        return FileState(name, "damaged", str(error))
    has_own = name == RECORD and "digest" in read_record(run.folder)
    return FileState(name, "sound" if known or has_own else "unverified")


def _read(run: Run, name: str) -> None:
    """Read a file without a digest as what it is; raises UserError where that is not possible."""
    readers = {
        run.config_file.name: lambda: config.read_config(run.config_file),
        run.category_ids_file.name: run.category_ids,
        run.metrics_file.name: run.metrics,
        run.results_file.name: run.results,
        "classes.json": run.classes,
        "skeleton.json": run.skeleton,
        LAST: lambda: read_bytes(run.folder / LAST),
    }
    readers.get(name, lambda: read_json(run.folder / name))()
