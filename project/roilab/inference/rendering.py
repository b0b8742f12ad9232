"""Pictures of predictions and of annotations, as arrays and as JPEG files."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as mask_utils

from roilab.data.coco import Row, dataset_to_coco
from roilab.data.coordinates import HALF_PIXEL
from roilab.data.dataset import DetectionDataset
from roilab.draw import Mask, Picture, draw_instances, fit, grid, side_by_side
from roilab.files import write_whole
from roilab.image_files import read_rgb
from roilab.inference.predictor import KEYPOINT_THRESHOLD, Prediction
from roilab.skeleton import Skeleton

OVERVIEW = "overview.jpg"
# JPEG qualities: of pictures, of those within a page, and of a video's frames, which a person
# annotates and a model is trained with.
PICTURE_QUALITY, PAGE_QUALITY, FRAME_QUALITY = 92, 85, 95
_JPEG_SIDE = 65500  # a JPEG is no larger
# A picture is enlarged up to this length of its longer side, so that lines and labels are thin
# against the objects of small images; in the overview it is also made no larger. Only a picture
# that would stay below the least side is enlarged more than three times.
_LEGIBLE_SIDE = 768
_LEAST_SIDE = 256
_OVERVIEW_COLUMNS, _OVERVIEW_PICTURES = 4, 12
_CANVAS_GREY = 110


def draw_prediction(
    image: Picture,
    prediction: Prediction,
    skeleton: Skeleton | None,
    *,
    colours: Sequence[int] | npt.NDArray[np.int64] | None = None,
    boxes: bool = True,
    masks: bool = True,
    keypoints: bool = True,
    links: bool = True,
    labels: bool = True,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> Picture:
    """A new picture of the H x W x 3 RGB image with boxes, masks, skeletons and labels.

    Args:
        colours: N numbers, such as those of tracks; without them, an instance's place.
        boxes, masks, keypoints, links, labels: which of them are drawn; links join keypoints, and
            are drawn where these are.
        keypoint_threshold: a keypoint is drawn where its score exceeds it.
    """
    if skeleton is not None and not links:
        skeleton = replace(skeleton, links=())
    pairs = zip(prediction.labels, prediction.scores, strict=True)
    return draw_instances(
        image,
        boxes=prediction.boxes if boxes else None,
        masks=list(prediction.masks) if masks and prediction.masks is not None else None,
        keypoints=prediction.keypoints if keypoints else None,
        labels=[f"{label} {score:.0%}" for label, score in pairs] if labels else None,
        colours=colours,
        skeleton=skeleton,
        keypoint_threshold=keypoint_threshold,
        scale=legible_scale(image),
    )


def draw_comparison(
    record: Row,
    dataset: DetectionDataset,
    results: Mapping[str, Sequence[Row]],
    *,
    original: bool = False,
    blank: bool = False,
) -> Picture:
    """A new picture: the annotations of an image beside one or more results on it.

    Args:
        record: of `dataset.records`.
        results: COCO result rows of this image, by the title of their picture.
        original: the image itself stands before them.
        blank: draw on a grey canvas in place of the photograph.
    """
    image = read_rgb(Path(record["file_name"]))
    canvas = np.full_like(image, _CANVAS_GREY) if blank else image
    annotated = dataset_to_coco([record], dataset.classes, dataset.skeleton)["annotations"]
    pictures = [_draw_rows(canvas, rows, dataset) for rows in (annotated, *results.values())]
    titles = ["annotated", *results]
    if original:
        pictures = [enlarged(image), *pictures]
        titles = ["image", *titles]
    return side_by_side(pictures, titles)


def rows_by_image(rows: Iterable[Row], score: float) -> dict[int, list[Row]]:
    """COCO result rows from a score on, by the id of their image; images without any are absent."""
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["score"] >= score:
            groups[row["image_id"]].append(row)
    return groups


def _draw_rows(image: Picture, rows: Sequence[Row], dataset: DetectionDataset) -> Picture:
    """A new picture of the image with COCO annotations, or result rows, which have a score."""
    boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = [dataset.classes[row["category_id"] - 1] for row in rows]
    keypoints = None
    if dataset.skeleton is not None:
        # Continuous; all 0, which is not drawn, for rows that have none.
        keypoints = np.zeros((len(rows), len(dataset.skeleton.keypoints), 3))
        for points, row in zip(keypoints, rows, strict=True):
            if "keypoints" in row:
                points[:] = np.reshape(row["keypoints"], (-1, 3))
                points[:, :2] += HALF_PIXEL
                points[:, 2] = 1 if "score" in row else points[:, 2] / 2
    return draw_instances(
        image,
        boxes=boxes,
        masks=[_mask(row.get("segmentation", [])) for row in rows],
        keypoints=keypoints,
        labels=[
            f"{label} {row['score']:.0%}" if "score" in row else label
            for label, row in zip(labels, rows, strict=True)
        ],
        skeleton=dataset.skeleton,
        scale=legible_scale(image),
    )


def _mask(segmentation: Any) -> Mask:
    """The rings of vertices, or the mask, of a COCO segmentation."""
    if isinstance(segmentation, Mapping):
        mask: npt.NDArray[np.bool_] = mask_utils.decode(segmentation).astype(bool)
        return mask
    return [np.reshape(ring, (-1, 2)) for ring in segmentation]


def legible_scale(image: Picture) -> int:
    """The factor by which a picture is enlarged to be legible: 1 to 3, or more for a tiny image."""
    side = max(image.shape[:2])
    return max(1, min(_LEGIBLE_SIDE // side, max(3, _LEAST_SIDE // side)))


def enlarged(image: Picture) -> Picture:
    """The image as large as the pictures of its instances."""
    return draw_instances(image, scale=legible_scale(image))


@contextmanager
def picture_folder(folder: Path) -> Iterator[Callable[[str, Picture], None]]:
    """A function that writes a picture by its name into a folder, as a JPEG.

    At the end of the block, the overview gets the first of them, the large ones made smaller.
    """
    cells: list[Picture] = []

    def write(name: str, picture: Picture) -> None:
        write_whole(folder / name, jpeg(picture, PICTURE_QUALITY))
        if len(cells) < _OVERVIEW_PICTURES:
            cells.append(fit(picture, _LEGIBLE_SIDE))

    yield write
    if cells:
        overview = grid(cells, _OVERVIEW_COLUMNS)
        write_whole(folder / OVERVIEW, jpeg(overview, PICTURE_QUALITY))


def picture_names(files: Sequence[Path]) -> list[str]:
    """A .jpg name for the picture of each image: no two alike, whatever their suffixes and case."""
    used = {OVERVIEW}
    names = []
    for file in files:
        name = f"{file.stem}.jpg"
        if name.lower() in used:
            name = f"{file.name}.jpg"
        while name.lower() in used:
            name = f"_{name}"
        used.add(name.lower())
        names.append(name)
    return names


def jpeg(picture: Picture, quality: int) -> bytes:
    """The content of a JPEG file; a picture that is too large for one is made smaller."""
    stream = io.BytesIO()
    Image.fromarray(fit(picture, _JPEG_SIDE)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
