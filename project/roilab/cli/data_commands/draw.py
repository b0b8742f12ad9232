"""Draw contact sheets of the ground truth: masks, boxes, class names, and the skeleton.

The first thing to look at: swapped joints, shifted outlines and wrong classes are seen at once.
Points that belong to no object are white crosses.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_images,
    add_labels,
    count_of,
    folder_of,
    read_all,
    rules_of,
    skeleton_of,
)
from roilab.data.boxes import HALF_PIXEL, box_of
from roilab.data.dataset_dicts import to_continuous
from roilab.data.fit import fit, image_size
from roilab.data.resolve_images import locate
from roilab.draw import Picture, draw_instances, grid, titled
from roilab.errors import UserError
from roilab.image_files import read_rgb
from roilab.skeleton import Skeleton
from roilab.text import counted

# The longer side of an image on a sheet, in pixels: smaller ones are enlarged by a whole number,
# larger ones made smaller, so that lines and names look alike on all.
_SIDE = 640
_COLUMNS = 4
_LETTERS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `draw`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")
    add_images(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/pictures"),
        metavar="DIR",
        help="folder for the sheets (default: outputs/pictures)",
    )
    parser.add_argument(
        "--limit", type=_positive, default=48, metavar="N", help="images of a file (default: 48)"
    )
    parser.add_argument(
        "--per-sheet", type=_positive, default=12, metavar="N", help="images a sheet (default: 12)"
    )
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Draw the sheets of every file."""
    rules = rules_of(args)
    annotations = read_all(args.files)
    skeleton = skeleton_of(args, annotations)
    written = 0
    folders = [folder_of(args, each) for each in annotations]
    located = locate(list(zip(annotations, folders, strict=True)))
    for each, folder, images in zip(annotations, folders, located, strict=True):
        labelled = via.build_instances(each, rules, skeleton)
        loose = {image.record.key: _loose_points(image, rules) for image in labelled.images}
        pictures = _pictures(labelled, images.places, skeleton, loose, args.limit)
        drawn = 0
        while sheet := list(islice(pictures, args.per_sheet)):
            drawn += len(sheet)
            written += 1
            _save(args.output, written, sheet)
        if not drawn:
            raise UserError(
                "no image to draw",
                file=each.file,
                found=f"no image in {folder}",
                key="--images",
                remedy="give the folder that holds the images",
            )
        say(f"{each.file}: {drawn} of {counted(len(labelled.images), 'image')} drawn")
        if count := sum(map(len, loose.values())):
            belong = counted(count, "point belongs", "points belong")
            say(f"  {belong} to no object: drawn as white crosses")
        if labelled.problems:
            say(f"  {count_of(labelled.problems)}: see roilab data check")
    stale = _remove_stale(args.output, written)
    say(
        f"{counted(written, 'sheet')}: {args.output}"
        + (f" ({counted(stale, 'earlier one')} removed)" if stale else "")
    )
    return 0


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _pictures(
    labelled: via.LabelledSet,
    places: Sequence[Path | via.Problem],
    skeleton: Skeleton | None,
    loose: Mapping[str, Sequence[via.XY]],
    limit: int,
) -> Iterator[Picture]:
    """The first `limit` images that can be read, drawn; the others are named.

    Args:
        places: what `locate` says of each image.
        loose: image key -> points that belong to no object, continuous coordinates.
    """
    total = min(limit, len(labelled.images))
    drawn = 0
    with tqdm(total=total, unit="image", disable=not sys.stderr.isatty(), leave=False) as bar:
        for image, place in zip(labelled.images, places, strict=True):
            if drawn == limit:
                return
            size = image_size(labelled.file, image.record, place)
            if isinstance(size, via.Problem) or isinstance(place, via.Problem):
                reason = size.message if isinstance(size, via.Problem) else ""
                say(f"skipped: {image.record.filename}: {reason}", file=sys.stderr)
                continue
            try:
                pixels = read_rgb(place)
            except UserError as error:
                say(f"skipped: {place}: {error.message}: {error.found}", file=sys.stderr)
                continue
            usable, _ = fit(labelled.file, image, *size)
            picture = _ground_truth(pixels, usable, skeleton, loose[image.record.key])
            yield titled(picture, place.name, _LETTERS)
            drawn += 1
            bar.update()


def _loose_points(image: via.LabelledImage, rules: via.LabelRules) -> list[via.XY]:
    """The points, and vertices of paths of keypoints, that belong to no object of an image."""
    used = {index for each in image.instances for index in each.regions}
    found: list[via.XY] = []
    for region in image.record.regions:
        shape = region.shape
        if region.index in used or not isinstance(shape, rules.kinds):
            continue
        if isinstance(shape, via.Point):
            found.append((shape.cx, shape.cy))
        elif isinstance(shape, via.Polygon | via.Polyline):
            found += shape.points
    return [(x + HALF_PIXEL, y + HALF_PIXEL) for x, y in found]


def _ground_truth(
    pixels: Picture,
    image: via.LabelledImage,
    skeleton: Skeleton | None,
    loose: Sequence[via.XY],
) -> Picture:
    """The picture with all that training takes of it, crowds named as such."""
    height, width = pixels.shape[:2]
    drawn = (*image.instances, *image.crowds)
    shrink = min(1.0, _SIDE / max(height, width))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    keypoints = None
    if skeleton is not None:
        none = ((0.0, 0.0, 0),) * len(skeleton.keypoints)
        keypoints = np.array(
            [to_continuous(each.keypoints or none) for each in drawn], dtype=float
        ).reshape(-1, len(skeleton.keypoints), 3)
        keypoints[..., :2] *= shrink
        keypoints[..., 2] /= 2  # of visibilities
    boxes = np.array([box_of(each, width, height) for each in drawn], dtype=float)
    return draw_instances(
        pixels,
        boxes=boxes.reshape(-1, 4) * shrink,
        masks=[[np.array(ring) * shrink for ring in each.polygons] for each in drawn],
        keypoints=keypoints,
        labels=[
            *(each.label for each in image.instances),
            *(f"{each.label} (crowd)" for each in image.crowds),
        ],
        loose_points=np.array(loose, dtype=float).reshape(-1, 2) * shrink,
        skeleton=skeleton,
        scale=max(1, _SIDE // max(pixels.shape[:2])),
    )


def _save(folder: Path, number: int, pictures: list[Picture]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sheet_{number:03d}.jpg"
        Image.fromarray(grid(pictures, _COLUMNS)).save(path, quality=90)
    except OSError as error:
        raise UserError(
            "cannot write the sheet",
            file=folder,
            found=error.strerror,
            remedy="give another folder with --output",
        ) from error


def _remove_stale(folder: Path, written: int) -> int:
    """Remove the sheets of an earlier, larger drawing, and say how many: they show other data."""
    stale = [
        path
        for path in folder.glob("sheet_*.jpg")
        if (found := re.fullmatch(r"sheet_(\d{3,})", path.stem)) and int(found[1]) > written
    ]
    for path in stale:
        path.unlink()
    return len(stale)
