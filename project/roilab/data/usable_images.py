"""The images and instances of annotation files that can be used, and why the others cannot.

An image is usable if its file is there, whole, and of the stated size; an instance if something of
it lies in the image. Images that use a small part of their range, such as 12 bits in files of 16,
are a warning. Nothing here imports torch or Detectron2, so that data commands start at once.
"""

import itertools
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from roilab import via
from roilab.data.coordinates import is_outside, own_box, stated_box_fault
from roilab.errors import UserError
from roilab.image_files import ImageFolder, bits_of, read_rgb, whole_size
from roilab.text import counted, first_of

MissingImages = Literal["error", "skip"]
SHOWN = 5  # how many of many like problems a message lists
_LISTED = 200  # the same for images, each of which somebody has to look for
# Images of a data set that are decoded: they are much alike, and decoding takes time.
_SAMPLE = 32
# A model sees 256 levels. Files of 16 bits that hold 14 or fewer have at most 64 of them; images of
# 8 bits with 16 levels have lost the others before.
_NARROW = {16: 64, 8: 16}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocatedImages:
    """The images of one annotation file.

    Attributes:
        places: for each entry its file, or the error that says why there is none.
        warnings: about files in another folder, or that several entries mean.
    """

    places: tuple[Path | via.Problem, ...]
    warnings: tuple[via.Problem, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An image entry and its file, whose real path is `real`, or why there is none."""

    file: str
    image: via.ImageRecord
    path: Path | via.Problem
    real: str = ""
    keeps_folder: bool = True


def find_images(sources: Sequence[tuple[via.Annotations, ImageFolder]]) -> list[LocatedImages]:
    """Find the images of annotation files that are used together.

    An entry that states a folder takes an image of its name from another one, unless that image is
    the one that another entry states: then its own is missing.
    """
    files = [
        [_entry(annotations.file, image, folder) for image in annotations.images]
        for annotations, folder in sources
    ]
    # Of the entries that mean a file, it belongs to the first that keeps to its folder.
    owners: dict[str, _Entry] = {}
    for entry in sorted(itertools.chain(*files), key=lambda entry: not entry.keeps_folder):
        owners.setdefault(entry.real, entry)
    return [_located(entries, owners) for entries in files]


def _entry(file: str, image: via.ImageRecord, folder: ImageFolder) -> _Entry:
    path = folder.find(image.filename, image.size)
    if path is None:
        message, remedy = folder.why_not(image.filename, image.size)
        return _Entry(file, image, via.Problem("error", message, remedy, file, image.filename))
    keeps_folder = folder.keeps_folder(image.filename, path)
    return _Entry(file, image, path, os.path.realpath(path), keeps_folder)


def _located(entries: Sequence[_Entry], owners: dict[str, _Entry]) -> LocatedImages:
    places: list[Path | via.Problem] = []
    warnings: list[via.Problem] = []
    for entry in entries:
        path = entry.path
        owner = owners[entry.real]
        place = (entry.file, entry.image.filename)
        places.append(path)
        if isinstance(path, via.Problem):
            continue
        of_file = f" of {owner.file}" if owner.file != entry.file else ""
        theirs = f"'{owner.image.filename}'{of_file}"
        if not entry.keeps_folder and owner.keeps_folder:
            message = f"no such image: {path}, which has its name, is that of the entry {theirs}"
            remedy = "put it into the folder that is stated"
            places[-1] = via.Problem("error", message, remedy, *place)
            continue
        if not entry.keeps_folder:
            message = f"not in the folder that its name states: {path} is taken instead"
            remedy = "make sure that it is the same picture, or put the image into that folder"
            warnings.append(via.Problem("warning", message, remedy, *place))
        # Of two entries of one name and size, their file's reader warns.
        keys = {(one.file, one.image.filename, one.image.size) for one in (entry, owner)}
        if len(keys) > 1:
            message = f"its file {path} is that of the entry {theirs} as well"
            remedy = "make them one: what only one of them holds is background in the other"
            warnings.append(via.Problem("warning", message, remedy, *place))
    return LocatedImages(tuple(places), tuple(warnings))


def usable_size(
    file: str, image: via.ImageRecord, place: Path | via.Problem
) -> tuple[int, int] | via.Problem:
    """(width, height) of an image that can be used; else the error that says why it cannot.

    Args:
        file: the annotation file. The size that a COCO file states has to be the image's.
        place: the image's of `LocatedImages.places`.
    """
    if isinstance(place, via.Problem):
        return place
    try:
        size = whole_size(place)
    except UserError as error:
        message = f"{error.message} {place}: {error.found}"
        return via.Problem("error", message, "replace the image file", file, image.filename)
    stated = image.coco.size if image.coco is not None else None
    if stated is not None and stated != size:
        width, height = size
        stated_width, stated_height = stated
        message = (
            f"the size of the image is {width} x {height} pixels (as its EXIF turns it), the file "
            f"says {stated_width} x {stated_height}"
        )
        remedy = "put the annotated image there, or write its width and height into the file"
        return via.Problem("error", message, remedy, file, image.filename)
    return size


def other_bytes(file: str, image: via.ImageRecord, path: Path) -> via.Problem | None:
    """A warning if an image file has not the number of bytes that its annotation file states.

    Args:
        file: the annotation file.
        path: of the image.
    """
    size = path.stat().st_size
    if image.size is None or size == image.size:
        return None
    message = f"the image has {size} bytes, the annotated one had {image.size}"
    remedy = "make sure that it is the same picture"
    return via.Problem("warning", message, remedy, file, image.filename)


def with_other_bytes(
    labelled: via.LabelledSet, places: Iterable[Path | via.Problem]
) -> list[via.Problem]:
    """The warnings of `other_bytes` about the images of a file, as one where there are several.

    Whoever compresses images anew has as many as images.
    """
    checked = [
        other_bytes(labelled.file, image.record, place)
        for image, place in zip(labelled.images, places, strict=True)
        if isinstance(place, Path)
    ]
    warnings = [warning for warning in checked if warning is not None]
    if len(warnings) <= 1:
        return warnings
    names = first_of([f"{warning.image} ({warning.message})" for warning in warnings], SHOWN)
    message = f"{len(warnings)} of {len(labelled.images)} images are not as annotated: {names}"
    remedy = "make sure that they are the same pictures, and not others of the same names"
    return [via.Problem("warning", message, remedy, labelled.file)]


def fit_instances(
    file: str, image: via.LabelledImage, width: int, height: int
) -> tuple[via.LabelledImage, list[via.Problem]]:
    """The image with the instances of which something lies in it, and the problems of the others.

    An instance that lies outside its image is left out, which is an error; a box of a COCO file
    that does not fit its object or the image is a warning.

    Args:
        width, height: of the image file, in pixels.
    """
    problems = []
    filename = image.record.filename
    objects: list[via.Instance] = []
    crowds: list[via.Instance] = []
    for instance in (*image.instances, *image.crowds):
        is_crowd = instance.coco is not None and instance.coco.is_crowd
        # The regions of crowds are numbered apart from those of objects: none is named.
        region = None if is_crowd else instance.regions[0]
        unfit = _unfit(instance, width, height)
        if unfit is not None:
            problems.append(via.Problem("error", *unfit, file, filename, region))
        elif is_crowd:
            crowds.append(instance)
        else:
            objects.append(instance)
            fault = stated_box_fault(instance, width, height)
            if fault:
                own = own_box(instance, width, height)
                trained = "that" if own else "the box of its outline"
                remedy = f"write x, y, width and height in pixels; {trained} is trained on"
                problems.append(via.Problem("warning", fault, remedy, file, filename, region))
    return replace(image, instances=tuple(objects), crowds=tuple(crowds)), problems


def _unfit(instance: via.Instance, width: int, height: int) -> tuple[str, str] | None:
    """Message and remedy for an instance that its image cannot hold; None for one that fits."""
    coco = instance.coco
    name = instance.label if coco is None else f"{instance.label} (annotation {coco.id})"
    if coco and isinstance(coco.mask, dict) and coco.mask["size"] != [height, width]:
        mask_size = " x ".join(map(str, reversed(coco.mask["size"])))
        message = (
            f"left out: the mask of the {name} has {mask_size} pixels, its image {width} x {height}"
        )
        remedy = "write a mask of the size of the image"
        return message, remedy
    if is_outside(instance, width, height):
        message = f"left out: the {name} lies outside the image of {width} x {height} pixels"
        remedy = "delete the region, or see that the image is the annotated one"
        return message, remedy
    return None


def fit_all_instances(
    labelled: via.LabelledSet, places: Iterable[Path | via.Problem]
) -> via.LabelledSet:
    """A file's images with the instances that lie in them, its problems with those of the others.

    Images that cannot be used stay as they are.
    """
    images = []
    problems = list(labelled.problems)
    for image, place in zip(labelled.images, places, strict=True):
        size = usable_size(labelled.file, image.record, place)
        if not isinstance(size, via.Problem):
            image, outside = fit_instances(labelled.file, image, *size)
            problems += outside
        images.append(image)
    return replace(labelled, images=tuple(images), problems=tuple(problems))


def leave_out_unusable(
    missing: Sequence[via.Problem],
    broken: Sequence[via.Problem],
    choice: MissingImages,
    *,
    total: int,
    origin: str,
    key: str,
    remedy: str,
) -> int:
    """Log and return the number of images that are left out.

    Args:
        missing, broken: an error for each image that has no file, or whose file is unusable.
        total: how many images are annotated.
        key, remedy: of the argument that says where the images are.

    Raises:
        UserError: there are some, and they are refused; the message lists them.
    """
    names = [f"{problem.image} ({problem.message})" for problem in (*missing, *broken)]
    if names and choice == "error":
        raise UserError(
            f"{len(names)} of {total} annotated images cannot be used "
            f"({len(missing)} not there, {len(broken)} not readable or of another size)",
            file=origin,
            key=key,
            found=first_of(names, _LISTED, "\n            "),
            remedy=remedy,
        )
    if names:
        images = counted(len(names), "image")
        log.warning("%s: %s left out: %s", origin, images, first_of(names, SHOWN, "; "))
    return len(names)


def check_missing_images(missing_images: str) -> None:
    """Raise UserError where `missing_images` is neither "error" nor "skip"."""
    if missing_images not in get_args(MissingImages):
        message = "no such choice"
        expected = "error or skip"
        raise UserError(message, key="missing_images", found=missing_images, expected=expected)


def narrow_range(paths: Sequence[str | Path], file: str) -> via.Problem | None:
    """A warning if images of a data set use a small part of their range.

    An evenly spread sample is decoded. Images that cannot be read are passed over, as are those of
    8 bits and one colour.

    Args:
        file: the annotation file.
    """
    sample = paths[:: max(1, -(-len(paths) // _SAMPLE))]
    # Bits of the file -> the least and the largest value of each image of a small range.
    narrow: dict[int, list[tuple[int, int]]] = {16: [], 8: []}
    for path in sample:
        try:
            bits = 16 if bits_of(path) == 16 else 8
            pixels = read_rgb(path)
        except UserError:
            continue
        # One axis after the other: numpy takes many times as long for both at once.
        lows = pixels.min(axis=0).min(axis=0)
        highs = pixels.max(axis=0).max(axis=0)
        span = (highs - lows).max()  # of a channel
        if span < _NARROW[bits] and (bits == 16 or span > 0):
            narrow[bits].append((int(lows.min()), int(highs.max())))

    bits = 16 if narrow[16] else 8
    if not narrow[bits]:
        return None
    low = min(low for low, _ in narrow[bits])
    high = max(high for _, high in narrow[bits])
    # The range in the values of the file, of whose 16 bits the model sees the upper 8.
    first, last = low, high
    if bits == 16:
        first, last = low << 8, (high << 8) + 255
    used = last.bit_length()
    cause = "they are nearly of one brightness"
    if bits == 16 and used < bits - 1:
        cause = f"they likely hold {used} bits in files of 16"
        first = 0
    looked_at = f"{len(sample)} images" + (f" of {len(paths)}" if len(sample) < len(paths) else "")
    message = (
        f"{len(narrow[bits])} of {looked_at} looked at use a small part of the range of {bits} "
        f"bits: the model sees values from {low} to {high} of 255; {cause}"
    )
    remedy = (
        f"spread {first} to {last} over the whole range, in the images to predict, too: "
        '"Images of 16 bits" in datasets/README.md has the program'
    )
    return via.Problem("warning", message, remedy, file)
