"""AP of many detections by our evaluation and by pycocotools, which it has to equal."""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks import Benchmark
from roilab.errors import UserError
from roilab.evaluation import average_precision
from roilab.skeleton import COCO_PERSON

OBJECTS, SIDE = 10, 640
Rows = list[dict[str, Any]]


def race(task: str, images: int, detections: int) -> Benchmark:
    """From ground truth and result rows to AP, both times the whole way."""
    truth, found = scene(images, detections)

    def ours() -> float | None:
        return average_precision(truth, found, [task], COCO_PERSON)[task]["AP"]

    def reference() -> float:
        return pycocotools(truth, found, task)

    mine, theirs = ours(), reference()
    if mine is None or abs(mine - theirs) > 1e-9:
        raise UserError("the two evaluations differ in AP", found=mine, expected=theirs)
    return Benchmark(
        reference_name="pycocotools", ours=ours, reference=reference, rounds=3, bar=(0, 1 / 25)
    )


def scene(images: int, detections: int) -> tuple[dict[str, Any], Rows]:
    """Persons with keypoints, and as many detections: half of them near one, half anywhere."""
    random = np.random.default_rng(0)
    truth: Rows = []
    found: Rows = []
    for image in range(1, images + 1):
        corners, sizes = (
            random.uniform(0, SIDE - 160, (OBJECTS, 2)),
            random.uniform(16, 160, (OBJECTS, 2)),
        )
        boxes = np.hstack([corners, sizes])
        points = corners[:, None] + random.random((OBJECTS, 17, 2)) * sizes[:, None]
        for box, xy in zip(boxes, points, strict=True):
            seen = random.integers(0, 3, (17, 1))
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                    "keypoints": np.hstack([xy, seen]).ravel().tolist(),
                    "num_keypoints": int((seen > 0).sum()),
                }
            )
        for index in range(detections):
            of, far = index % OBJECTS, 0.05 if index % 2 else 1
            size = [*sizes[of], *sizes[of]]
            box = boxes[of] + random.normal(0, far, 4) * size * [1, 1, 0.1, 0.1]
            xy = points[of] + random.normal(0, far, (17, 2)) * sizes[of]
            found.append(
                {
                    "image_id": image,
                    "category_id": 1,
                    "score": float(random.random()),
                    "bbox": [*box[:2].tolist(), *np.abs(box[2:]).tolist()],
                    "keypoints": np.hstack([xy, np.ones((17, 1))]).ravel().tolist(),
                }
            )
    every = [{"id": image, "width": SIDE, "height": SIDE} for image in range(1, images + 1)]
    categories = [{"id": 1, "name": "person"}]
    return {"images": every, "categories": categories, "annotations": truth}, found


def pycocotools(truth: dict[str, Any], found: Rows, task: str) -> float:
    """AP in percent. It writes into the rows that it is given."""
    hidden = {"keypoints"} if task == "bbox" else set()
    coco = COCO()
    coco.dataset = {**truth, "annotations": [dict(each) for each in truth["annotations"]]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        rows = [{k: v for k, v in each.items() if k not in hidden} for each in found]
        evaluator = COCOeval(coco, coco.loadRes(rows), task)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, -1]
    return 100 * float(precision[precision > -1].mean())
