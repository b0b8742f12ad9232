"""Predictions that are kept for long: their masks as run-length codes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from roilab.evaluation.evaluator import encode_mask
from roilab.inference.predictor import Prediction


@dataclass(frozen=True, eq=False)
class PackedPrediction:
    """A prediction in kilobytes: N masks of H x W pixels are not held as such.

    Attributes:
        bare: the prediction without its masks.
        codes: the COCO RLE of each mask; None where the model has no mask head.
    """

    bare: Prediction
    codes: tuple[dict[str, Any], ...] | None

    def above(self, threshold: float) -> Prediction:
        """The instances whose score reaches the threshold, with their masks."""
        kept = self.bare.above(threshold)
        if self.codes is None:
            return kept
        masks = np.zeros((len(kept), kept.height, kept.width), dtype=bool)
        for place, index in enumerate(np.flatnonzero(self.bare.scores >= threshold)):
            masks[place] = mask_utils.decode(self.codes[index])
        return replace(kept, masks=masks)


def pack(prediction: Prediction) -> PackedPrediction:
    """The prediction as it is kept; `above(0)` gives it back."""
    codes = None if prediction.masks is None else tuple(map(encode_mask, prediction.masks))
    return PackedPrediction(replace(prediction, masks=None), codes)
