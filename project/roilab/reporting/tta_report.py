"""The gain in AP and the cost of test-time augmentation, as a table and as JSON data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roilab.evaluation import Evaluation, GroundTruth, Views
from roilab.evaluation.ap import TASK_NAMES
from roilab.evaluation.bootstrap import PairedDifference, compare_detections, time_ratio
from roilab.reporting import document
from roilab.reporting.document import Cell, Section, Table, decimal


@dataclass(frozen=True)
class AugmentationGain:
    """Evaluations of a model without and with test-time augmentation, and their differences.

    Attributes:
        differences: in AP, by task, where there is one.
        time_ratio: of the median seconds for an image, and its 95% interval over images.
    """

    views: Views
    plain: Evaluation
    augmented: Evaluation
    differences: Mapping[str, PairedDifference]
    time_ratio: tuple[float, float, float]

    @classmethod
    def of(
        cls, truth: GroundTruth, views: Views, plain: Evaluation, augmented: Evaluation
    ) -> "AugmentationGain":
        """The gain of two evaluations on the same images."""
        tasks = list(augmented.results)
        differences = compare_detections(truth, augmented.detections, plain.detections, tasks)
        ratio = time_ratio(augmented.image_seconds, plain.image_seconds)
        return cls(views, plain, augmented, differences, ratio)

    def text(self) -> str:
        """A Markdown table below a line about it."""
        about = "test-time augmentation against none, on other images like these:"
        return f"{about}\n\n{document.markdown_table(self._table(), 'github')}"

    def section(self) -> Section:
        """The part of a page."""
        text = (
            f"With {self.views}. The other figures of this page are those with augmentation. "
            "Intervals are over images like these; the time is the median for an image."
        )
        return Section("Test-time augmentation", text, [self._table()])

    def to_dict(self) -> dict[str, Any]:
        """The views, the AP without them, and the differences as JSON data."""
        ratio, low, high = self.time_ratio
        differences = {task: asdict(difference) for task, difference in self.differences.items()}
        return {
            **self.views.to_dict(),
            "plain": self.plain.results,
            "differences": differences,
            "time_ratio": {"value": ratio, "low": low, "high": high},
        }

    def _table(self) -> Table:
        rows: list[Sequence[Cell]] = []
        for task, name in TASK_NAMES.items():
            if task not in self.augmented.results:
                continue
            values = [result.results[task]["AP"] for result in (self.plain, self.augmented)]
            gain = self.differences.get(task)
            cells: tuple[Cell, Cell] = (None, None)
            if gain is not None:
                cells = f"{gain.value:+.2f}", f"{gain.low:+.2f} to {gain.high:+.2f}"
            rows.append([f"{name} AP", *(decimal(value, 2) for value in values), *cells])
        seconds = [decimal(result.seconds, 3) for result in (self.plain, self.augmented)]
        ratio, low, high = self.time_ratio
        rows.append(
            ["seconds an image", *seconds, f"{ratio:.2f} times", f"{low:.2f} to {high:.2f} times"]
        )
        return Table(("", "plain", "augmented", "difference", "95% interval"), rows)
