"""Matches of detections with the objects of images, and their average precision by COCO's rules."""

from dataclasses import dataclass

import numpy as np

_RECALLS = np.linspace(0, 1, 101)
_BLOCK = 2**20  # weights times detections at a time: more needs a gigabyte and is slower


@dataclass(frozen=True)
class Matches:
    """The matches of one task and class at T thresholds of IoU or OKS, over I images.

    Attributes:
        image: D, the position of each detection's image.
        score: D, the best first.
        true_positive: T x D, whether a detection is matched to an object that counts.
        false_positive: T x D, whether it is matched to nothing; neither: it lies in a crowd, say.
        objects: I, the number of objects of an image that count.
    """

    image: np.ndarray
    score: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray
    objects: np.ndarray

    def ap(self, weights: np.ndarray) -> np.ndarray:
        """AP from 0 to 1: B x T, with NaN where there are no objects.

        The weights are B x I, how often each image counts.
        """
        step = max(1, _BLOCK // max(1, len(self.image)))
        blocks = [self._ap(weights[i : i + step]) for i in range(0, len(weights), step)]
        return np.concatenate(blocks)

    def _ap(self, weights: np.ndarray) -> np.ndarray:
        """`ap`, with all weights in memory at once."""
        total = weights @ self.objects  # B
        counts = weights[:, self.image]  # B x D
        result = np.full((len(weights), len(self.true_positive)), np.nan)
        for t in range(len(self.true_positive)):
            hits = np.cumsum(counts * self.true_positive[t], axis=1)
            detections = hits + np.cumsum(counts * self.false_positive[t], axis=1)
            precision = hits / np.maximum(detections, 1e-12)
            # The best precision at this recall or a higher one.
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            for b in np.flatnonzero(total):
                # As COCO has it: hits / total in floating point, the first that reaches a recall.
                first = np.searchsorted(hits[b] / total[b], _RECALLS, side="left")
                reached = first[first < len(self.image)]
                result[b, t] = best[b, reached].sum() / len(_RECALLS)
        return result
