"""Which file each image entry means, and where two entries mean one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roilab import via
from roilab.image_files import ImageFolder


@dataclass(frozen=True, slots=True)
class Located:
    """The images of one annotation file.

    Attributes:
        places: for each entry its file, or the error that says why there is none.
        warnings: about files that were found elsewhere, or that several entries mean.
    """

    places: tuple[Path | via.Problem, ...]
    warnings: tuple[via.Problem, ...]


def locate(sources: Sequence[tuple[via.Annotations, ImageFolder]]) -> list[Located]:
    """Find the images of annotation files that are used together.

    An entry that states a folder takes an image of its name from another one, unless that image is
    the one that another entry states: then its own is not there.
    """
    found = [
        [_find(annotations.file, image, folder) for image in annotations.images]
        for annotations, folder in sources
    ]
    # Of the entries that mean a file, it belongs to the first that keeps to its folder.
    owners: dict[str, _Entry] = {}
    for entry in sorted((each for entries in found for each in entries), key=lambda e: not e.keeps):
        owners.setdefault(entry.real, entry)
    return [_located(entries, owners) for entries in found]


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    image: via.ImageRecord
    path: Path | via.Problem
    real: str
    keeps: bool

    def problem(self, severity: via.Severity, message: str, remedy: str) -> via.Problem:
        return via.Problem(severity, message, remedy, self.file, self.image.filename)


def _find(file: str, image: via.ImageRecord, folder: ImageFolder) -> _Entry:
    path = folder.find(image.filename, image.size)
    if path is None:
        message, remedy = folder.why_not(image.filename, image.size)
        problem = via.Problem("error", message, remedy, file, image.filename)
        return _Entry(file, image, problem, "", True)
    keeps = folder.keeps_folder(image.filename, path)
    return _Entry(file, image, path, os.path.realpath(path), keeps)


def _located(entries: Sequence[_Entry], owners: dict[str, _Entry]) -> Located:
    places: list[Path | via.Problem] = []
    warnings: list[via.Problem] = []
    for entry in entries:
        path, owner = entry.path, owners[entry.real]
        places.append(path)
        if isinstance(path, via.Problem):
            continue
        theirs = f"'{owner.image.filename}'" + (
            f" of {owner.file}" if owner.file != entry.file else ""
        )
        if not entry.keeps and owner.keeps:
            message = f"no such image: {path}, which has its name, is that of the entry {theirs}"
            places[-1] = entry.problem("error", message, "put it into the folder that is stated")
            continue
        if not entry.keeps:
            message = f"not in the folder that its name states: {path} is taken instead"
            remedy = "make sure that it is the same picture, or put the image into that folder"
            warnings.append(entry.problem("warning", message, remedy))
        if owner is not entry and not _same_entry(owner, entry):
            message = f"its file {path} is that of the entry {theirs} as well"
            remedy = "make them one: what only one of them holds is background in the other"
            warnings.append(entry.problem("warning", message, remedy))
    return Located(tuple(places), tuple(warnings))


def _same_entry(one: _Entry, other: _Entry) -> bool:
    """Whether two entries of a file have the same name and size, of which its reader warns."""
    return (one.file, one.image.filename, one.image.size) == (
        other.file,
        other.image.filename,
        other.image.size,
    )
