"""Contact sheets of the ground truth: as it is annotated, and as a batch gives it to the model."""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from roilab import via
from roilab.data.coordinates import HALF_PIXEL, box_of, to_continuous
from roilab.data.usable_images import fit_instances, usable_size
from roilab.draw import Picture, draw_instances, fit, grid, titled
from roilab.errors import UserError
from roilab.files import whole, writing
from roilab.image_files import read_rgb
from roilab.skeleton import Skeleton

# The longer side of an image on a sheet, in pixels: smaller ones are enlarged by a whole number,
# larger ones made smaller, so that lines and names look alike on all.
_SIDE = 640
_COLUMNS = 4
_LETTERS = 20
_SMALL_LETTERS = 14
_MEAN_WIDTH = 0.56  # of a letter, in its height


def ground_truth_pictures(
    labelled: via.LabelledSet,
    places: Sequence[Path | via.Problem],
    skeleton: Skeleton | None,
    loose: Mapping[str, Sequence[via.XY]],
    skipped: Callable[[str], None],
) -> Iterator[Picture]:
    """Draw what training takes of the images that can be read; crowds are named so.

    Args:
        places: of each image, see `find_images`.
        loose: image key -> points that belong to no object (`loose_points`).
        skipped: is called with a text for each image that cannot be drawn.
    """
    for image, place in zip(labelled.images, places, strict=True):
        if isinstance(place, via.Problem):
            skipped(f"{image.record.filename}: {place.message}")
            continue
        size = usable_size(labelled.file, image.record, place)
        if isinstance(size, via.Problem):
            skipped(f"{image.record.filename}: {size.message}")
            continue
        try:
            pixels = read_rgb(place)
        except UserError as error:
            skipped(f"{place}: {error.message}: {error.found}")
            continue
        usable, _ = fit_instances(labelled.file, image, *size)
        picture = _drawn(pixels, usable, skeleton, loose[image.record.key])
        yield titled(picture, place.name, _LETTERS)


def _drawn(
    pixels: Picture, image: via.LabelledImage, skeleton: Skeleton | None, loose: Sequence[via.XY]
) -> Picture:
    """The H x W x 3 pixels of an image with its instances and loose points, sized for a sheet."""
    drawn = (*image.instances, *image.crowds)
    height, width = pixels.shape[:2]
    shrink = min(1.0, _SIDE / max(height, width))
    if shrink < 1:
        shape = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = np.array(Image.fromarray(pixels).resize(shape, Image.Resampling.BOX))
    keypoints = occluded = None
    if skeleton is not None:
        none = ((0.0, 0.0, 0),) * len(skeleton.keypoints)
        rows = np.array([to_continuous(instance.keypoints or none) for instance in drawn])
        rows = rows.reshape(len(drawn), len(skeleton.keypoints), 3)
        occluded = rows[..., 2] == 1
        # Visibility 2 becomes 1.
        keypoints = rows * (shrink, shrink, 0.5)
    boxes = np.array([box_of(instance, width, height) for instance in drawn], dtype=float)
    labels = [instance.label for instance in image.instances]
    labels += [f"{crowd.label} (crowd)" for crowd in image.crowds]
    return draw_instances(
        pixels,
        boxes=boxes.reshape(-1, 4) * shrink,
        masks=[[np.array(ring) * shrink for ring in instance.polygons] for instance in drawn],
        keypoints=keypoints,
        occluded=occluded,
        labels=labels,
        loose_points=np.array(loose, dtype=float).reshape(-1, 2) * shrink,
        skeleton=skeleton,
        scale=max(1, _SIDE // max(pixels.shape[:2])),
    )


def item_picture(
    item: Mapping[str, Any], classes: Sequence[str], skeleton: Skeleton | None, image_format: str
) -> Picture:
    """Draw an item of a batch, under the name of its file and of the augmentations that changed it.

    Args:
        item: as `roilab.data.loaders.Mapper` gives it to a training.
        image_format: of its image, BGR or RGB.
    """
    pixels = item["image"].numpy().transpose(1, 2, 0)
    if image_format == "BGR":
        pixels = pixels[:, :, ::-1]
    truth = item["instances"]
    parts: dict[str, Any] = {"boxes": truth.gt_boxes.tensor.numpy()}
    if truth.has("gt_masks"):
        masks = truth.gt_masks
        bitmaps = getattr(masks, "tensor", None)  # of BitMasks
        parts["masks"] = (
            [[ring.reshape(-1, 2) for ring in rings] for rings in masks.polygons]
            if bitmaps is None
            else list(bitmaps.numpy())
        )
    if truth.has("gt_keypoints"):
        keypoints = truth.gt_keypoints.tensor.numpy()
        parts["keypoints"] = keypoints * (1, 1, 0.5)
        parts["occluded"] = keypoints[..., 2] == 1
    picture = draw_instances(
        pixels,
        **parts,
        labels=[classes[number] for number in truth.gt_classes],
        skeleton=skeleton,
        scale=max(1, _SIDE // max(pixels.shape[:2])),
    )
    changes = ", ".join(item.get("transforms", ())) or "unchanged"
    if "pasted_from" in item:  # CopyPaste comes last
        changes += f" from {Path(item['pasted_from']).name}"
    picture = fit(picture, _SIDE)
    letters = max(1, round(picture.shape[1] / (_SMALL_LETTERS * _MEAN_WIDTH)) - 2)
    for line in reversed(textwrap.wrap(changes, letters)):
        picture = titled(picture, line, _SMALL_LETTERS)
    return titled(picture, Path(item["file_name"]).name, _LETTERS)


def loose_points(image: via.LabelledImage, rules: via.LabelRules) -> list[via.XY]:
    """The points of an image that belong to no object, also vertices; continuous coordinates."""
    used = {index for instance in image.instances for index in instance.regions}
    points: list[via.XY] = []
    for region in image.record.regions:
        shape = region.shape
        if region.index in used or not isinstance(shape, rules.kinds):
            continue
        if isinstance(shape, via.Point):
            points.append((shape.cx, shape.cy))
        elif isinstance(shape, via.Polygon | via.Polyline):
            points += shape.points
    return [(x + HALF_PIXEL, y + HALF_PIXEL) for x, y in points]


def save_sheet(folder: Path, number: int, pictures: Sequence[Picture], kind: str = "sheet") -> None:
    """Write a sheet of pictures, whole or not at all, with its kind and number as its name."""
    path = folder / f"{kind}_{number:03d}.jpg"
    try:
        with whole(path) as part, writing(path):
            Image.fromarray(grid(pictures, _COLUMNS)).save(part, "JPEG", quality=90)
    except UserError as error:
        message = "cannot write the sheet"
        raise error.replace(message=message, remedy="give another folder: output=DIR") from error


def remove_stale_sheets(folder: Path, last: int, kind: str = "sheet") -> int:
    """Remove the sheets after the last, which an earlier, larger call left; returns how many."""
    removed = 0
    for path in list(folder.glob(f"{kind}_*.jpg")):
        match = re.fullmatch(rf"{kind}_(\d{{3,}})", path.stem)
        if match and int(match[1]) > last:
            path.unlink()
            removed += 1
    return removed
