"""Limits of detections and proposals of an image, fitted to the number of objects in the data.

`evaluation.max_detections` is the one key for both; where it is None, they follow the data.
"""

import math

from omegaconf import DictConfig, OmegaConf

from roilab.data.dataset import DetectionDataset
from roilab.engine.build_data import tasks_of
from roilab.engine.config import TOPK
from roilab.evaluation import GroundTruth
from roilab.evaluation.ap import exceeded_limits, raised_limits

PROPOSALS = "model.proposal_generator.post_nms_topk"
# Where a config names none; proposals in training, and in evaluation.
_STOCK_TOPK = 100
_STOCK_PROPOSALS = (2000, 1000)


def fit_limits(cfg: DictConfig, dataset: DetectionDataset) -> None:
    """Let the model give as many detections as an image has objects, where no key says how many.

    It gets as many proposals in evaluation, where they are fewer than the objects. The config is
    changed in place.
    """
    objects, enough = _most_objects(dataset)
    if OmegaConf.select(cfg, TOPK) is None and objects > _STOCK_TOPK:
        OmegaConf.update(cfg, TOPK, enough, force_add=True)
    topk = OmegaConf.select(cfg, TOPK) or _STOCK_TOPK
    in_training, in_test = OmegaConf.select(cfg, PROPOSALS) or _STOCK_PROPOSALS
    if in_test < min(objects, topk):
        OmegaConf.update(cfg, PROPOSALS, [in_training, min(enough, topk)], force_add=True)


def limits_note(cfg: DictConfig, dataset: DetectionDataset) -> str:
    """A note on images with many objects: a limit other than COCO's, or objects left out.

    "": nothing. See `roilab.evaluation.ap`.
    """
    tasks = tasks_of(cfg.model.roi_heads)
    truth = GroundTruth(dataset.coco_json(), dataset.skeleton, cfg.evaluation.max_detections)
    proposals = (OmegaConf.select(cfg, PROPOSALS) or _STOCK_PROPOSALS)[1]
    of_model = {TOPK: OmegaConf.select(cfg, TOPK) or _STOCK_TOPK, PROPOSALS: proposals}
    left_out = exceeded_limits(truth, tasks, of_model)
    note = "; ".join([*raised_limits(truth, tasks), *left_out])
    if left_out:
        _, enough = _most_objects(dataset)
        note += f". To count them: evaluation.max_detections={enough}"
    return note


def _most_objects(dataset: DetectionDataset) -> tuple[int, int]:
    """The most objects that an image has, without crowds, and these rounded up to hundreds."""
    most = 0
    for record in dataset.records:
        objects = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
        most = max(most, len(objects))
    return most, math.ceil(most / 100) * 100
