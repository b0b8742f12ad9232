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

# The names of files that something reads, or once read.
_READ = re.compile(
    rf".*\.pth|results\w*\.json|(category_ids|coco_instances_results|metrics|skeleton)\.json|{LAST}"
    rf"|{re.escape(RECORD)}"
)


@dataclass(frozen=True)
class FileState:
    """The state of a file of a run folder.

    Attributes:
        kind: `sound` is as its digest says, `unverified` has none and can be read, `removed` is a
            checkpoint that is missing, `gone` another file, `damaged` is not as its digest says or
            cannot be read.
        reason: of a file that is damaged.
    """

    name: str
    kind: Literal["sound", "unverified", "removed", "gone", "damaged"]
    reason: str = ""


def verify_run(folder: Path) -> list[FileState]:
    """The state of each file of a run that is read after the training, by name."""
    run = Run(folder)
    if not folder.is_dir():
        raise UserError("there is no such folder", key="run", file=folder)
    try:
        files = digests(folder)
    except UserError as error:
        return [FileState(RECORD, "damaged", str(error))]
    known = {
        name for name, of_file in files.items() if ABSENT not in of_file or (folder / name).exists()
    }
    names = {*known, run.config_file.name, run.classes_file.name}
    names |= {path.name for path in folder.iterdir() if _READ.fullmatch(path.name)}
    return [_state(run, name, is_known=name in known) for name in sorted(names)]


def _state(run: Run, name: str, *, is_known: bool) -> FileState:
    path = run.folder / name
    if not path.exists():
        return FileState(name, "removed" if name.endswith(".pth") else "gone")
    try:
        if name.endswith(".pth"):
            with checkpoint.verified(path):
                pass
        elif is_known:
            verify(path, read_bytes(path))
        else:
            _read(run, name)
    except UserError as error:
        return FileState(name, "damaged", str(error))
    has_own = name == RECORD and "digest" in read_record(run.folder)
    return FileState(name, "sound" if is_known or has_own else "unverified")


def _read(run: Run, name: str) -> None:
    """Read a file without a digest by its format; raises UserError where that is not possible."""
    readers = {
        run.config_file.name: lambda: config.read_config(run.config_file),
        run.category_ids_file.name: run.category_ids,
        run.metrics_file.name: run.metrics,
        run.results_file.name: run.results,
        run.classes_file.name: run.classes,
        run.skeleton_file.name: run.skeleton,
        LAST: lambda: read_bytes(run.folder / LAST),
    }
    readers.get(name, lambda: read_json(run.folder / name))()
