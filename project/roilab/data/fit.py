"""Labelled images and the size of their pictures -> the instances that can be used."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from roilab import via
from roilab.data.boxes import is_outside, own_box, stated_box_fault
from roilab.errors import UserError
from roilab.image_files import whole_size


def image_size(
    file: str | Path, image: via.ImageRecord, place: Path | via.Problem
) -> tuple[int, int] | via.Problem:
    """(width, height) of an image that can be used; else the error that says why it cannot.

    It is there, is whole, and has the size that the file states, if it is COCO.

    Args:
        file: the annotation file.
        place: what `locate` says of the image.
    """
    if isinstance(place, via.Problem):
        return place
    try:
        size = whole_size(place)
    except UserError as error:
        message = f"{error.message} {place}: {error.found}"
        return via.Problem("error", message, "replace the image file", str(file), image.filename)
    stated = image.coco.size if image.coco is not None else None
    if stated is not None and stated != size:
        message = (
            f"the size of the image is {size[0]} x {size[1]} pixels (as its EXIF turns it), "
            f"the file says {stated[0]} x {stated[1]}"
        )
        remedy = "put the annotated image there, or write its width and height into the file"
        return via.Problem("error", message, remedy, str(file), image.filename)
    return size


def fit(
    file: str, image: via.LabelledImage, width: int, height: int
) -> tuple[via.LabelledImage, list[via.Problem]]:
    """The image with the instances of which something lies in it, and the problems of the others.

    An instance that lies outside its image is left out, which is an error; a box of a COCO file
    that does not fit its object or the image is a warning.

    Args:
        width, height: of the image file, in pixels.
    """
    problems = []
    kept = []
    for instance in image.instances:
        error = _error(file, image, instance, width, height)
        if error is not None:
            problems.append(error)
            continue
        kept.append(instance)
        if reason := stated_box_fault(instance, width, height):
            taken = "that" if own_box(instance, width, height) else "the box of its outline"
            remedy = f"write x, y, width and height in pixels; {taken} is trained on"
            problems.append(_problem("warning", reason, remedy, file, image, instance))
    crowds = []
    for crowd in image.crowds:
        error = _error(file, image, crowd, width, height)
        if error is None:
            crowds.append(crowd)
        else:
            # The regions of crowds are numbered apart from those of objects.
            problems.append(replace(error, region=None))
    if len(kept) == len(image.instances) and len(crowds) == len(image.crowds):
        return image, problems
    return replace(image, instances=tuple(kept), crowds=tuple(crowds)), problems


def fit_all(
    labelled: via.LabelledSet, places: Iterable[Path | via.Problem]
) -> tuple[via.LabelledSet, int]:
    """A file's images with the instances that lie in them, its problems with those of the others.

    Images that cannot be used stay as they are.

    Args:
        places: what `locate` says of each image.

    Returns:
        The set, and how many images cannot be used.
    """
    images = []
    problems = list(labelled.problems)
    unusable = 0
    for image, place in zip(labelled.images, places, strict=True):
        size = image_size(labelled.file, image.record, place)
        if isinstance(size, via.Problem):
            unusable += 1
            images.append(image)
            continue
        fitting, found = fit(labelled.file, image, *size)
        images.append(fitting)
        problems += found
    return replace(labelled, images=tuple(images), problems=tuple(problems)), unusable


def _error(
    file: str, image: via.LabelledImage, instance: via.Instance, width: int, height: int
) -> via.Problem | None:
    """The reason why an instance is left out; None for one that can be used."""
    coco = instance.coco
    name = instance.label if coco is None else f"{instance.label} (annotation {coco.id})"
    if coco is not None and isinstance(coco.mask, dict) and coco.mask["size"] != [height, width]:
        size = " x ".join(map(str, reversed(coco.mask["size"])))
        message = (
            f"left out: the mask of the {name} has {size} pixels, its image {width} x {height}"
        )
        return _problem(
            "error", message, "write a mask of the size of the image", file, image, instance
        )
    if is_outside(instance, width, height):
        message = f"left out: the {name} lies outside the image of {width} x {height} pixels"
        remedy = "delete the region, or see that the image is the annotated one"
        return _problem("error", message, remedy, file, image, instance)
    return None


def _problem(
    severity: via.Severity,
    message: str,
    remedy: str,
    file: str,
    image: via.LabelledImage,
    instance: via.Instance,
) -> via.Problem:
    region = instance.regions[0]
    return via.Problem(severity, message, remedy, file, image.record.filename, region)
