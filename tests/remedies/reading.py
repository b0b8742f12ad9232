"""What is wrong with a file when it is read, labelled, checked or loaded."""

from pathlib import Path
from typing import Any

from roilab import skeleton as skeletons
from roilab import via
from roilab.data import dataset
from roilab.data import read as data_read
from roilab.data.check import examine, refused
from roilab.errors import UserError
from roilab.images import ImageFolder

from .cases import Wrong, wrong


def read(file: Path) -> Wrong:
    """When it is read."""
    return wrong(data_read.read, file)


def label(file: Path, skeleton: Path | None = None, **rules: Any) -> Wrong:
    """When it is read and labelled."""

    def labelled() -> via.LabelledSet:
        bones = None if skeleton is None else skeletons.load(skeleton)
        return via.label(data_read.read(file), via.LabelRules(**rules), bones)

    return wrong(labelled)


def check(file: Path, *folders: Path, **rules: Any) -> Wrong:
    """When it is checked with its images."""

    def found() -> Any:
        try:
            annotations = data_read.read(file)
        except UserError as error:
            return refused(file, error)
        folder = ImageFolder(*(folders or [file.parent]))
        return examine(annotations, folder, via.LabelRules(**rules))

    return wrong(found)


def load(*files: Path, **options: Any) -> Wrong:
    """When a data set of these files is loaded."""
    return wrong(dataset.load, [str(file) for file in files], **options)
