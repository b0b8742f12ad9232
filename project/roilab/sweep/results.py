"""The results of a sweep's finished runs, ready to be compared; each run is read once."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.load_run import load_run
from roilab.engine.max_detections import limits_note
from roilab.engine.run_folder import Run, open_run, reading
from roilab.engine.setup import prepare
from roilab.engine.validate import eval_batches
from roilab.errors import UserError
from roilab.evaluation.analysis import ap_by_iou, image_ap50, keypoint_oks
from roilab.evaluation.ap import Results
from roilab.evaluation.bootstrap import METRICS, bootstrap_metrics, bootstrap_weights
from roilab.evaluation.matches import match_detections
from roilab.inference.rendering import rows_by_image
from roilab.sweep.plan import Trial

LEAST_SCORE = 0.5  # of what is drawn
_COUNTED_IMAGES = 4


@dataclass(frozen=True)
class Found:
    """The results of a run on its validation set.

    Attributes:
        results: AP in percent by task and metric.
        draws: 1 + B values of `task/metric`, see `roilab.evaluation.bootstrap`.
        strictness: AP in percent at each threshold, by task.
        image_ap50: I, by task.
        joints: mean OKS term, where there are keypoints.
        drawn: by the image's id, COCO result rows whose score is worth drawing.
        limits: see `limits_note`.
    """

    dataset: DetectionDataset
    results: Results
    draws: Mapping[str, np.ndarray]
    strictness: Mapping[str, Sequence[float | None]]
    image_ap50: Mapping[str, Sequence[float | None]]
    joints: Mapping[str, float | None]
    drawn: Mapping[int, Sequence[Mapping[str, Any]]]
    limits: str = ""

    def images(self) -> list[Mapping[str, Any]]:
        """The records of the images, in the order of their AP: that of their ids."""
        return sorted(self.dataset.records, key=lambda record: record["image_id"])


@dataclass(frozen=True)
class Cost:
    """The cost of a model; a value is None if it is not known.

    Attributes:
        parameters: all of them; as the operations, not known without the weights.
        operations: floating-point, for an image in inference; a multiplication and an addition are
            two.
        step: seconds of a training iteration with its data, the median.
        inference: seconds for an image, the median.
        memory: the most of the training, in GiB: of the GPU, or of the process.
    """

    parameters: int | None
    operations: float | None
    step: float | None
    inference: float | None
    memory: float | None


@dataclass
class Collector:
    """Reads finished runs, and keeps what it read.

    Attributes:
        metrics: what is compared, as `task/metric`.
    """

    metrics: Sequence[str]
    found: dict[Trial, Found] = field(default_factory=dict)
    costs: dict[str, tuple[int | None, float | None]] = field(default_factory=dict)
    datasets: dict[str, DetectionDataset] = field(default_factory=dict)

    def of(self, cell: Trial) -> Found:
        """The results of a finished cell.

        Raises:
            UserError: the detections are gone, or the validation set cannot be read any more.
        """
        if cell not in self.found:
            run = Run(cell.folder)
            with reading(run):
                self.found[cell] = self._read(run)
        return self.found[cell]

    def _read(self, run: Run) -> Found:
        results = run.results()
        dataset = self._dataset(run)
        detections = run.detections(dataset.coco_ids)
        truth, skeleton = dataset.coco_json(), dataset.skeleton
        cfg = config.load_config(run.config_file)
        limit = cfg.evaluation.max_detections
        weights = bootstrap_weights(len(dataset))
        values: dict[str, np.ndarray] = {}
        curves, images = {}, {}
        for task in results:
            wanted = [
                name.partition("/")[2] for name in self.metrics if name.startswith(f"{task}/")
            ]
            areas = {METRICS[name][0] for name in wanted} | {"all"}
            matches = {
                area: match_detections(truth, detections, task, skeleton, area, limit)
                for area in areas
            }
            every = bootstrap_metrics(matches, weights)
            values |= {f"{task}/{name}": every[name] for name in wanted}
            self._check(run, results[task], every, task)
            curves[task] = ap_by_iou(matches["all"])
            images[task] = image_ap50(matches["all"])
        terms = {}
        if skeleton and "keypoints" in results:
            terms = keypoint_oks(truth, detections, skeleton, limit)
        worth_drawing = rows_by_image(detections, LEAST_SCORE)
        note = limits_note(cfg, dataset)
        return Found(dataset, results, values, curves, images, terms, worth_drawing, note)

    def _check(
        self,
        run: Run,
        metrics: Mapping[str, float | None],
        every: Mapping[str, np.ndarray],
        task: str,
    ) -> None:
        """Raise UserError where the validation set is not the one that the run's AP is of."""
        told, now = metrics["AP"], float(every["AP"][0])
        if not np.isclose(now, np.nan if told is None else told, rtol=0, atol=1e-6, equal_nan=True):
            raise UserError(
                "the validation set has changed since the run was evaluated",
                file=run.results_file,
                key=f"{task}/AP",
                found=told,
                expected=f"{now}, on the validation set as it is",
                remedy=f"evaluate it anew: {run.evaluate_command}",
            )

    def _dataset(self, run: Run) -> DetectionDataset:
        cfg = config.load_config(run.config_file)
        key = json.dumps(config.to_plain_data(cfg.data.val), sort_keys=True)
        if key not in self.datasets:
            self.datasets[key] = prepare(cfg, training=False).val
        return self.datasets[key]

    def cost(self, cells: Sequence[Trial]) -> Cost:
        """The cost of an arm, from its finished cells, of which there is at least one."""
        arm = cells[0].arm.name
        if arm not in self.costs:
            run = Run(cells[0].folder)
            with reading(run):
                self.costs[arm] = count(run, self.of(cells[0]).dataset)
        logs = [Run(cell.folder).metrics() or [{}] for cell in cells]
        return Cost(
            *self.costs[arm],
            step=_median([line["time"] for log in logs for line in log if "time" in line]),
            inference=_median(
                [log[-1]["inference_time"] for log in logs if "inference_time" in log[-1]]
            ),
            memory=max(
                (line["memory"] for log in logs for line in log if "memory" in line), default=None
            ),
        )


def count(run: Run, dataset: DetectionDataset) -> tuple[int | None, float | None]:
    """The parameters of a run's model, and its floating-point operations for an image.

    Those in convolutions and matrix products, over a few images: how many there are depends on what
    is found. A multiplication and an addition are two. None: the weights are gone.
    """
    if not run.weights.is_file():
        return None, None
    # Our own kernels do with fewer than the model has.
    cfg, model = load_run(
        open_run(run.folder), ["train.cpu_kernels=False", "train.precision=float32"]
    )
    counter, images = FlopCounterMode(display=False), 0
    with torch.inference_mode(), counter:
        for batch in eval_batches(cfg, dataset):
            model(batch)
            images += len(batch)
            if images >= _COUNTED_IMAGES:
                break
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, counter.get_total_flops() / images


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
