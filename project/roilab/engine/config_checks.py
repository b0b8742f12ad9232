"""Checks of a whole config, after its overrides: references, named weights, limits that agree."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roilab.errors import UserError

MAX_DETECTIONS = "evaluation.max_detections"
_PREDICTOR = "model.roi_heads.box_predictor"
TOPK = f"{_PREDICTOR}.test_topk_per_image"


def check_references(cfg: DictConfig) -> None:
    """See that each `${key}` is the value of a key.

    Raises:
        UserError: a key is not there, or follows itself; names the key that has the reference.
    """
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            "a value of the config follows one that is not there, or itself",
            key=error.full_key,
            found=str(error).splitlines()[0],
            expected="${key} with another key of the config; a text is quoted, and all of it once "
            "more for the shell",
        ) from error


def check_weights(cfg: DictConfig) -> None:
    """See that each entry of `weights` says where its file is.

    Raises:
        UserError: one does not.
    """
    for name, entry in (cfg.get("weights") or {}).items():
        if not isinstance(entry, DictConfig) or not isinstance(entry.get("file"), str):
            is_entry = isinstance(entry, DictConfig)
            key = f"weights.{name}.file" if is_entry else f"weights.{name}"
            raise UserError(
                "named weights have no file",
                key=key,
                found=entry.get("file") if is_entry else entry,
                expected="a path or a URL",
                remedy=f"weights.{name}.file=PATH",
            )


def apply_max_detections(cfg: DictConfig, of_file: tuple[Any, Any]) -> None:
    """Let the model give as many detections of an image as the evaluation counts of a class.

    Args:
        of_file: both numbers, as `max_detections_of` gives them, before the overrides.

    Raises:
        UserError: the limit is no number, or the model's own key says another one.
    """
    limit, topk = max_detections_of(cfg)
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise UserError(
            "not a number of detections",
            key=MAX_DETECTIONS,
            found=limit,
            expected="a whole number from 1, or null for COCO's limits",
        )
    if OmegaConf.select(cfg, _PREDICTOR) is None:
        raise UserError(
            "the model has no limit that could follow",
            key=MAX_DETECTIONS,
            found=f"no {_PREDICTOR}",
            remedy="evaluation.max_detections=null",
        )
    # A limit that is overridden takes the place of what the file says of the model.
    if topk not in (None, limit) and (topk != of_file[1] or limit == of_file[0]):
        raise UserError(
            "two keys say how many detections of an image the model gives",
            key=MAX_DETECTIONS,
            found=f"{limit}, and {TOPK}={topk}",
            expected="one number",
            remedy=f"let both say one number: {MAX_DETECTIONS}={limit} {TOPK}={limit}",
        )
    OmegaConf.update(cfg, TOPK, limit, force_add=True)


def max_detections_of(cfg: DictConfig) -> tuple[Any, Any]:
    """The detections that the evaluation counts, and those that the model gives; None: not said."""
    return OmegaConf.select(cfg, MAX_DETECTIONS), OmegaConf.select(cfg, TOPK)
