"""Every figure of the evaluation against pycocotools, random and degenerate cases."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from roilab.evaluation import GroundTruth, average_precision
from roilab.skeleton import Skeleton

SIDE = 240
TASKS = ("bbox", "segm", "keypoints")
AREAS = {"APs": "small", "APm": "medium", "APl": "large"}


def rle(box: list[float], random: np.random.Generator) -> dict[str, Any]:
    """A box with holes, clipped to the image."""
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    x, y, width, height = (round(value) for value in box)
    mask[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 1
    mask[:: int(random.integers(3, 9))] = 0
    encoded = mask_utils.encode(mask)
    return {"size": [SIDE, SIDE], "counts": encoded["counts"].decode("ascii")}


def scene(
    seed: int,
    images: int,
    objects: int,
    copies: int,
    tied: bool = False,
    sigmas: tuple[float, ...] = (0.03, 0.05, 0.1),
) -> tuple[GroundTruth, list[dict]]:
    """Objects of two classes, crowds among them, with moved copies of some, and nonsense."""
    random = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []

    def instance(image: int, kind: int, box: np.ndarray, points: np.ndarray) -> dict[str, Any]:
        row = {"image_id": image, "category_id": kind, "bbox": box.tolist()}
        row["segmentation"] = rle(row["bbox"], random)
        if kind == 1:
            row["keypoints"] = points.ravel().tolist()
        return row

    for image in range(1, images + 1):
        for _ in range(int(random.integers(0, objects + 1))):
            size = random.choice([6, 40, 110]) * random.uniform(0.5, 1.5, 2)
            box = np.concatenate([random.uniform(0, SIDE - 100, 2), size]).round(2)
            kind = int(random.integers(1, 3))
            points = np.column_stack(
                [box[:2] + random.random((3, 2)) * size, random.integers(0, 3, 3)]
            )
            row = instance(image, kind, box, points)
            row |= {
                "id": len(annotations) + 1,
                "area": float(mask_utils.area(row["segmentation"])),
                "iscrowd": int(random.random() < 0.15),
            }
            if kind == 1:
                row["num_keypoints"] = int((points[:, 2] > 0).sum())
            annotations.append(row)
            for _ in range(int(random.integers(0, copies + 1))):
                moved = box + random.normal(0, 0.1, 4) * [*size, *size]
                moved[2:] = moved[2:].clip(0)
                shifted = points + random.normal(0, 0.05, (3, 3)) * [*size, 0]
                other = kind if random.random() < 0.9 else 3 - kind
                score = float(random.choice([0.3, 0.6]) if tied else random.random())
                detections.append({**instance(image, other, moved, shifted), "score": score})
    coco = {
        "images": [{"id": i, "width": SIDE, "height": SIDE} for i in range(1, images + 1)],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": annotations,
    }
    links = (("a", "b"), ("b", "c"))
    skeleton = Skeleton("three", ("person",), ("a", "b", "c"), (), links, sigmas)
    return GroundTruth(coco, skeleton), detections


def reference(truth: GroundTruth, rows: list[dict], task: str) -> dict[str, float | None]:
    """The same by pycocotools, which gives -1 where there is nothing."""
    hidden = {"segm": {"bbox", "keypoints"}, "bbox": {"segmentation", "keypoints"}}.get(
        task, {"segmentation"}
    )
    coco = COCO()
    coco.dataset = copy.deepcopy(dict(truth.coco))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes([{k: v for k, v in e.items() if k not in hidden} for e in rows])
        evaluator = COCOeval(coco, results, task)
        if task == "keypoints":
            evaluator.params.catIds = [1]
            evaluator.params.kpt_oks_sigmas = np.array(truth.skeleton.sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., -1]
    labels = evaluator.params.areaRngLbl

    def mean(part: np.ndarray) -> float | None:
        return 100 * float(part[part > -1].mean()) if (part > -1).any() else None

    every = labels.index("all")
    parts = {"AP": slice(None), "AP50": 0, "AP75": 5}
    metrics = {name: mean(precision[part, ..., every]) for name, part in parts.items()}
    metrics |= {n: mean(precision[..., labels.index(a)]) for n, a in AREAS.items() if a in labels}
    for index, name in enumerate(["person", "car"][: precision.shape[2]]):
        metrics[f"AP-{name}"] = mean(precision[:, :, index, every])
        metrics[f"AP50-{name}"] = mean(precision[0, :, index, every])
    return metrics


SCENES = st.builds(
    scene,
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 5),
    objects=st.integers(0, 6),
    copies=st.integers(0, 3),
    tied=st.booleans(),
    sigmas=st.tuples(*[st.floats(0.01, 0.3)] * 3),
)


@given(SCENES)
@settings(max_examples=60, deadline=None)
def test_every_figure_is_that_of_pycocotools(drawn: tuple[GroundTruth, list[dict]]) -> None:
    truth, detections = drawn
    ours = average_precision(truth, detections, TASKS)
    if not detections:  # on which pycocotools fails
        assert {value for task in TASKS for value in ours[task].values()} <= {0, None}
        return
    for task in TASKS:
        expected = reference(truth, detections, task)
        assert ours[task].keys() == expected.keys()
        for name, value in expected.items():
            mine = ours[task][name]
            assert (mine is None) == (value is None), (task, name)
            assert mine is None or abs(mine - value) < 1e-9, (task, name)


def test_the_scenes_are_neither_perfect_nor_hopeless() -> None:
    results = average_precision(*scene(0, 30, 6, 3), TASKS)
    for task in TASKS:
        assert 5 < results[task]["AP"] < 95
        assert results[task]["AP50"] > results[task]["AP75"]


@pytest.mark.parametrize("task", TASKS)
def test_crowds_cost_nothing(task: str) -> None:
    """A detection within a crowd is neither right nor wrong."""
    truth, detections = scene(1, 5, 6, 1)
    for row in truth.coco["annotations"]:
        row["iscrowd"] = 1
    assert average_precision(truth, detections, [task])[task]["AP"] is None
