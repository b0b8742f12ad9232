"""Checks of the ground truth: whether metrics can be computed and keypoints learnt."""

import difflib
import logging
import math
from collections import Counter

from omegaconf import DictConfig

from roilab.data.dataset import DetectionDataset
from roilab.errors import UserError

log = logging.getLogger(__name__)

# COCO's ranges of areas, in square pixels.
_AREAS = {"APs": (0.0, 32.0**2), "APm": (32.0**2, 96.0**2), "APl": (96.0**2, math.inf)}


def check_best(cfg: DictConfig, dataset: DetectionDataset, tasks: list[str]) -> None:
    """Check that `train.best` is a metric that the val set has ground truth for.

    Args:
        tasks: of the model: of "bbox", "segm", "keypoints".

    Raises:
        UserError: no evaluation gives such a metric, or it would always be empty.
    """
    metric = cfg.train.best
    if metric is None or metric == "val_total_loss":
        return
    counts = objects_by_metric(dataset, tasks)
    if cfg.train.ema is not None:
        counts |= {f"ema/{name}": count for name, count in counts.items()}
    if metric not in counts:
        near = difflib.get_close_matches(str(metric), [*counts, "val_total_loss"], n=3)
        raise UserError(
            "no evaluation gives such a metric",
            key="train.best",
            found=metric,
            expected=f"perhaps {' or '.join(near)}"
            if near
            else f"one of {', '.join(counts)}, val_total_loss",
        )
    if not counts[metric]:
        usable = [name for name, count in counts.items() if count]
        raise UserError(
            "the val set has no object that counts for this metric",
            key="train.best",
            found=f"{metric}, for which there are 0 objects of {len(dataset)} images",
            expected=f"one of {', '.join(usable) or 'none'}, or val_total_loss",
        )


def objects_by_metric(dataset: DetectionDataset, tasks: list[str]) -> dict[str, int]:
    """The number of objects that each metric of a data set's evaluation counts, by COCO's rules."""
    rows = [row for row in dataset.coco_json()["annotations"] if not row["iscrowd"]]
    counts: dict[str, int] = {}
    for task in tasks:
        scored, names, areas = rows, dataset.classes, _AREAS
        if task == "keypoints" and dataset.skeleton is not None:
            scored = [row for row in rows if row.get("num_keypoints")]
            names = tuple(name for name in names if name in dataset.skeleton.classes)
            areas = {name: limits for name, limits in _AREAS.items() if name != "APs"}
        for metric in ("AP", "AP50", "AP75"):
            counts[f"{task}/{metric}"] = len(scored)
        for metric, (low, high) in areas.items():
            counts[f"{task}/{metric}"] = sum(low <= row["area"] <= high for row in scored)
        of_class = Counter(dataset.classes[row["category_id"] - 1] for row in scored)
        for name in names:
            counts |= {f"{task}/{metric}-{name}": of_class[name] for metric in ("AP", "AP50")}
    return counts


def warn_of_unlabelled_keypoints(dataset: DetectionDataset, key: str) -> None:
    """Warn where a data set for a keypoint model does not have a single labelled keypoint.

    Args:
        key: of the data set in the config, for the message.
    """
    if dataset.skeleton is None:
        return
    objects = [
        anno
        for record in dataset.records
        for anno in record["annotations"]
        if dataset.classes[anno["category_id"]] in dataset.skeleton.classes
    ]
    if not any(v > 0 for anno in objects for v in anno["keypoints"][2::3]):
        log.warning(
            "%s: no keypoint is labelled, all %d of %d objects have v = 0: keypoints are neither "
            "learnt nor scored",
            key,
            len(objects) * len(dataset.skeleton.keypoints),
            len(objects),
        )
