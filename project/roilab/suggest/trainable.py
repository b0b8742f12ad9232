"""The heads that the annotations of a data set can train, and why they cannot train the others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from detectron2.structures import BoxMode

from roilab import via
from roilab.curation.infer_skeleton import detect_coco_person
from roilab.data.dataset import DetectionDataset
from roilab.data.mask_to_polygons import read_annotations
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.labels.label_rules import keypoint_regions


@dataclass(frozen=True, slots=True)
class Heads:
    """Whether annotations can train a mask head and a keypoint head; `why` says it in words.

    `outlines`: whether all objects have one; a mask head is not worth it where they are rectangles.
    """

    mask: bool
    keypoint: bool
    outlines: bool
    why: tuple[str, ...]


def trainable_heads(datasets: Sequence[DetectionDataset], points: int) -> Heads:
    """The heads that data sets can train; the first one is for training.

    Outlines that are all rectangles would teach a mask head no more than the boxes.

    Args:
        points: how many points the files have, of which a data set without a skeleton uses none.
    """
    train = datasets[0]
    objects = [anno for dataset in datasets for anno in objects_of(dataset)]
    bare = sum(not anno.get("segmentation") for anno in objects)
    rectangles = sum(map(_is_rectangle, objects))
    count = counted(len(objects), "object")
    have = counted(len(objects), "object has an outline", "objects have outlines")
    if bare:
        mask, why_mask = False, f"{bare} of {count} {'has' if bare == 1 else 'have'} no outline"
    elif rectangles == len(objects):
        mask, why_mask = False, f"all outlines (of {count}) are rectangles, as the boxes"
    else:
        mask, why_mask = True, have

    labelled = sum(v > 0 for anno in objects_of(train) for v in anno.get("keypoints", ())[2::3])
    if train.skeleton is not None:
        why_keypoint = f"{counted(labelled, 'point is', 'points are')} labelled"
    elif points:
        why_keypoint = (
            f"{counted(points, 'point has', 'points have')} no skeleton (`roilab data skeleton` "
            "proposes one, for data.skeleton=FILE)"
        )
    else:
        why_keypoint = "there are no points"
    keypoint = train.skeleton is not None and labelled > 0
    why = (
        f"{'masks' if mask else 'no masks'}, since {why_mask}",
        f"{'keypoints' if keypoint else 'no keypoints'}, since {why_keypoint}",
    )
    return Heads(mask, keypoint, not bare, why)


def objects_of(dataset: DetectionDataset) -> Iterator[dict[str, Any]]:
    """The annotations of a data set, without crowds."""
    for record in dataset.records:
        yield from (anno for anno in record["annotations"] if not anno.get("iscrowd", 0))


def boxes_of(record: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """The boxes of an image within it, without crowds: N x 4, (x0, y0, x1, y1) in pixels.

    Those without extent, from which nothing is learnt, are left out.
    """
    objects = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
    boxes = np.array(
        [BoxMode.convert(anno["bbox"], anno["bbox_mode"], BoxMode.XYXY_ABS) for anno in objects],
        dtype=float,
    ).reshape(-1, 4)
    boxes = boxes.clip(0, [record["width"], record["height"]] * 2)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]


def count_points(files: Sequence[str], rules: via.LabelRules) -> tuple[int, Skeleton | None]:
    """The number of points of annotation files, and COCO's skeleton where they carry its names."""
    points = 0
    skeleton = None
    for file in files:
        annotations = read_annotations(file)
        points += sum(1 for _ in keypoint_regions(annotations, rules.kinds))
        skeleton = skeleton or detect_coco_person(annotations, rules)
    return points, skeleton


def _is_rectangle(anno: dict[str, Any]) -> bool:
    """Whether the outline of an annotation is a rectangle along the axes."""
    rings = anno.get("segmentation")
    if not isinstance(rings, list) or len(rings) != 1 or len(rings[0]) != 8:
        return False
    xs, ys = rings[0][::2], rings[0][1::2]
    corners = set(zip(xs, ys, strict=True))
    return corners == {(x, y) for x in (min(xs), max(xs)) for y in (min(ys), max(ys))}
