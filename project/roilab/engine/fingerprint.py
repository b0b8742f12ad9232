"""Fingerprints of data sets, by which a resumed training knows that its data are still the same."""

import contextlib
import datetime
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from roilab.data.dataset import DetectionDataset
from roilab.engine.run_record import Digest, digest_of, read_record, write_record
from roilab.files import read_bytes

_KEY = "data"  # of the record
_SHOWN = 5  # how many of many images a message names


def fingerprint(dataset: DetectionDataset, files: Sequence[str]) -> dict[str, Any]:
    """The fingerprint of a data set, which changes with the data; it takes one `stat` an image.

    Places do not count: a copy in another folder has the same `records` and `sizes`.

    Args:
        files: its annotation files, if there are any.

    Returns:
        `annotations`, a digest a file; `images`, their number; digests of `records` (the images'
        names and sizes in pixels, and their annotations, in order, with classes and keypoints), of
        `sizes` (of the image files, in bytes) and of `times` (when these were written); `latest`,
        the last of these, in nanoseconds since 1970.
    """
    stats = [_stat(record["file_name"]) for record in dataset.records]
    sizes, times = [size for size, _ in stats], [time for _, time in stats]
    return {
        "annotations": [digest_of(read_bytes(file)) for file in files],
        "images": len(dataset),
        "records": _digest_of_records(dataset),
        "sizes": digest_of(repr(sizes).encode()),
        "times": digest_of(repr(times).encode()),
        "latest": max(times, default=0),
    }


def _stat(path: str) -> tuple[int, int]:
    """Bytes and time of a file; zeros where it is gone, which those who read it will say."""
    with contextlib.suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, for many images
        return found.st_size, found.st_mtime_ns
    return 0, 0


def _digest_of_records(dataset: DetectionDataset) -> str:
    digest = Digest()
    pickler = pickle.Pickler(SimpleNamespace(write=digest.update), protocol=5)
    pickler.fast = True  # what is the same object twice is written twice: only values count
    skeleton = dataset.skeleton and asdict(dataset.skeleton)
    pickler.dump((dataset.classes, skeleton))
    for record in dataset.records:
        pickler.dump({**record, "file_name": os.path.basename(record["file_name"])})  # noqa: PTH119
    return str(digest)


def recorded(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The fingerprints of a run's data by split; None: it is from before there were any.

    Raises:
        UserError: the record of the run is damaged.
    """
    found: dict[str, dict[str, Any]] | None = read_record(folder).get(_KEY)
    return found


def record(folder: Path, fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
    """Write fingerprints of data sets, by split, into the record of a run.

    Raises:
        UserError: the record is damaged, or cannot be written.
    """
    before = read_record(folder)
    if before.get(_KEY) != fingerprints:
        write_record(folder, {"files": {}, **before, _KEY: dict(fingerprints)})


def changes(before: Mapping[str, Any], now: Mapping[str, Any], data: DetectionDataset) -> list[str]:
    """The changes of a data set that affect a training; empty if there are none.

    Times do not count, which a copy may have of its own.
    """
    found = []
    if before["images"] != now["images"]:
        found.append(f"{now['images']} images in place of {before['images']}")
    elif before["records"] != now["records"]:
        found.append("other annotations, classes or names of images")
    if before["sizes"] != now["sizes"]:
        found.append("image files of other sizes")
    if found:
        found += _later(before["latest"], data)
    return found


def _later(latest: int, data: DetectionDataset) -> Iterator[str]:
    """The images that were written since, which is where to look first."""
    names = [
        record["file_name"] for record in data.records if _stat(record["file_name"])[1] > latest
    ]
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        date = datetime.datetime.fromtimestamp(latest / 1e9, datetime.UTC)
        since = date.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        yield f"written after {since} UTC: {', '.join(names[:_SHOWN])}{more}"


def notes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Other differences of a data set without `changes`, which are only reported."""
    found = []
    if before["annotations"] != now["annotations"]:
        found.append("the annotation files were written anew, and mean the same")
    if before["times"] != now["times"]:
        found.append("image files have other times and the same sizes, as copies do")
    return found
