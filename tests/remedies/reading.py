"""What is wrong with a file when it is read, labelled, checked or loaded."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roilab import skeleton as skeletons
from roilab import via
from roilab.curation.check import check_annotations, unusable_file
from roilab.curation.infer_skeleton import infer_skeleton
from roilab.data.dataset import load_dataset
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images
from roilab.errors import UserError
from roilab.image_files import ImageFolder

from .cases import Wrong, wrong

# What a test has called in the place of functions, with the name of a command, see test_typed.py.
as_typed: Callable[..., Wrong] | None = None


def read(file: Path) -> Wrong:
    """When it is read."""
    if as_typed is not None:
        return as_typed("check", file)
    return wrong(read_annotations, file)


def label(file: Path, skeleton: Path | None = None, **rules: Any) -> Wrong:
    """When it is read and labelled."""
    if as_typed is not None:
        named = {} if skeleton is None else {"skeleton": str(skeleton)}
        return as_typed("check", file, **named, **rules)

    def labelled() -> via.LabelledSet:
        bones = None if skeleton is None else skeletons.load_skeleton(skeleton)
        return via.build_instances(read_annotations(file), via.LabelRules(**rules), bones)

    return wrong(labelled)


def check(file: Path, *folders: Path, **rules: Any) -> Wrong:
    """When it is checked with its images."""
    if as_typed is not None and not folders:
        return as_typed("check", file, **rules)

    def findings() -> Any:
        try:
            annotations = read_annotations(file)
        except UserError as error:
            return unusable_file(file, error)
        folder = ImageFolder(*(folders or [file.parent]))
        (located,) = find_images([(annotations, folder)])
        return check_annotations(annotations, located, via.LabelRules(**rules))

    return wrong(findings)


def load(*files: Path, **options: Any) -> Wrong:
    """When a data set of these files is loaded."""
    if as_typed is not None:
        return as_typed("load", *files, **options)
    names = {field.name for field in dataclasses.fields(via.LabelRules)}

    def loaded() -> Any:
        rules = via.LabelRules(**{name: options[name] for name in names & options.keys()})
        others = {name: value for name, value in options.items() if name not in names}
        return load_dataset([str(file) for file in files], rules=rules, **others)

    return wrong(loaded)


def proposed(file: Path, **options: Any) -> Wrong:
    """When a skeleton is proposed from its points."""
    if as_typed is not None:
        return as_typed("skeleton", file, **options)
    return wrong(infer_skeleton, [read_annotations(file)], "pet", **options)
