"""The results of a sweep's runs and the cost of its arms; each run is read once."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.build_data import build_loader
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run, open_run, reading
from roilab.engine.setup import limits_note, prepare
from roilab.errors import UserError
from roilab.evaluation.analysis import ap_by_iou, image_ap50, keypoint_oks
from roilab.evaluation.ap import METRICS, GroundTruth, Results
from roilab.evaluation.bootstrap import image_weights, match_detections, metrics_of_draws
from roilab.inference.rendering import rows_by_image
from roilab.sweep.plan import Trial

LEAST_SCORE = 0.5  # of a detection that is drawn
_COUNTED_IMAGES = 4


@dataclass(frozen=True)
class RunResults:
    """The results of a run on its validation set, or their means over the folds of an arm.

    Attributes:
        data: the names of the validation sets, which follow from their content.
        images: the number of images in them.
        draws: 1 + B values of `task/metric`, of AP and of what is compared, see
            `roilab.evaluation.bootstrap`.
        ap_by_iou: AP in percent at each threshold, by task.
        image_ap50: I, in the order of the images' ids, by task.
        keypoint_oks: mean OKS term of each keypoint, where there are keypoints.
        drawn: by the image's id, COCO result rows from `LEAST_SCORE` on.
        limits: see `roilab.engine.setup.limits_note`.
    """

    run: Run
    dataset: DetectionDataset
    data: tuple[str, ...]
    images: int
    results: Results
    draws: Mapping[str, np.ndarray]
    ap_by_iou: Mapping[str, Sequence[float | None]]
    image_ap50: Mapping[str, Sequence[float | None]]
    keypoint_oks: Mapping[str, float | None]
    drawn: Mapping[int, Sequence[Mapping[str, Any]]]
    limits: str

    @cached_property
    def operations(self) -> tuple[int | None, float | None]:
        """The parameters of the model, and its floating-point operations for an image.

        Those in convolutions and matrix products, over a few images, since they depend on what is
        found. A multiplication and an addition are two. None where the weights are gone.
        """
        if not self.run.weights.is_file():
            return None, None
        # Our own kernels do fewer operations than the model has.
        overrides = ["train.cpu_kernels=False", "train.precision=float32"]
        counter = FlopCounterMode(display=False)
        images = 0
        with reading(self.run):
            cfg, model = load_run(open_run(self.run.folder), overrides)
            with torch.inference_mode(), counter:
                for batch in build_loader(cfg, "dataloader.test", self.dataset):
                    model(batch)
                    images += len(batch)
                    if images >= _COUNTED_IMAGES:
                        break
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return parameters, counter.get_total_flops() / images


@dataclass
class ResultsReader:
    """Reads runs that are done, for the compared `task/metric`s, and keeps what it has read."""

    metrics: Sequence[str]
    results: dict[Trial, RunResults] = field(default_factory=dict)
    datasets: dict[str, DetectionDataset] = field(default_factory=dict)

    def read(self, trial: Trial) -> RunResults:
        """The results of a trial that is done.

        Raises:
            UserError: its detections are gone, or its validation set has changed.
        """
        if trial not in self.results:
            run = Run(trial.folder)
            with reading(run):
                self.results[trial] = self._read(run, trial.fold or 0)
        return self.results[trial]

    def _read(self, run: Run, fold: int) -> RunResults:
        results = run.results()
        cfg = config.load_config(run.config_file)
        key = json.dumps(config.to_plain_data(cfg.data.val), sort_keys=True)
        if key not in self.datasets:
            self.datasets[key] = prepare(cfg, training=False).val
        dataset = self.datasets[key]
        detections = run.detections(dataset.coco_ids)
        truth = GroundTruth(dataset.coco_json(), dataset.skeleton, cfg.evaluation.max_detections)
        weights = image_weights(len(dataset), fold)

        draws: dict[str, np.ndarray] = {}
        curves = {}
        images = {}
        for task in results:
            compared = [metric.partition("/") for metric in self.metrics]
            # The table of AP has its interval also where it is not compared.
            names = {"AP", *(name for of, _, name in compared if of == task)}
            areas = {"all", *(METRICS[name][0] for name in METRICS.keys() & names)}
            matches = {area: match_detections(truth, detections, task, area) for area in areas}
            metrics = metrics_of_draws(matches, weights)
            _check_unchanged(run, task, results[task]["AP"], float(metrics["AP"][0]))
            for name in names:
                if name not in metrics:
                    raise no_such_class(run.folder, task, name, list(matches["all"]))
                draws[f"{task}/{name}"] = metrics[name]
            curves[task] = ap_by_iou(matches["all"])
            images[task] = image_ap50(matches["all"])

        return RunResults(
            run=run,
            dataset=dataset,
            data=(dataset.name,),
            images=len(dataset),
            results=results,
            draws=draws,
            ap_by_iou=curves,
            image_ap50=images,
            keypoint_oks=keypoint_oks(truth, detections) if "keypoints" in results else {},
            drawn=rows_by_image(detections, LEAST_SCORE),
            limits=limits_note(cfg, dataset),
        )


def no_such_class(file: str | Path, task: str, metric: str, classes: Sequence[str]) -> UserError:
    """The error for a metric of a class that is none of these.

    Args:
        file: the sweep's, or a run folder whose data have these classes.
    """
    return UserError(
        "a metric that is compared is of a class that the data do not have",
        file=file,
        key="sweep.metrics",
        found=f"{task}/{metric}",
        expected=f"AP- or AP50- and one of {', '.join(classes)}",
        remedy="correct the metric in the sweep's file; what is trained is not trained again",
    )


def mean_over_folds(folds: Sequence[RunResults]) -> RunResults:
    """The results of a cross-validation: the mean over its folds, each on the images held out.

    Each draw of images is one of every fold. The data set, what is drawn of it, the values of its
    images and the costs are those of the first fold.
    """
    first = folds[0]
    if len(folds) == 1:
        return first

    def over_draws(name: str) -> np.ndarray:
        draws = np.stack([fold.draws[name] for fold in folds])
        means: Any = np.ma.masked_invalid(draws).mean(axis=0)
        return np.asarray(means.filled(np.nan))

    names = dict.fromkeys(
        (task, name) for fold in folds for task in fold.results for name in fold.results[task]
    )
    results: Results = {}
    for task, name in names:
        values = [fold.results.get(task, {}).get(name) for fold in folds]
        results.setdefault(task, {})[name] = mean_of_known(values)
    tasks = [task for task in first.ap_by_iou if all(task in fold.ap_by_iou for fold in folds)]
    drawn = [name for name in first.draws if all(name in fold.draws for fold in folds)]
    return replace(
        first,
        data=tuple(name for fold in folds for name in fold.data),
        images=sum(fold.images for fold in folds),
        results=results,
        draws={name: over_draws(name) for name in drawn},
        ap_by_iou={
            task: list(map(mean_of_known, zip(*(f.ap_by_iou[task] for f in folds), strict=True)))
            for task in tasks
        },
        keypoint_oks={
            name: mean_of_known([fold.keypoint_oks.get(name) for fold in folds])
            for name in first.keypoint_oks
        },
        limits=" ".join(dict.fromkeys(filter(None, (fold.limits for fold in folds)))),
    )


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None without any."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def costs(runs: Sequence[RunResults]) -> tuple[float | None, ...]:
    """The costs of an arm's model, from its runs, at least one.

    They are those of `RunResults.operations`, the median seconds of a training iteration with its
    data and of the inference for an image, and the peak memory of the training in GiB: of the GPU,
    or of the process. None where a cost is not known.
    """
    logs = [results.run.metrics() or [{}] for results in runs]
    lines = [line for log in logs for line in log]
    steps = [line["time"] for line in lines if "time" in line]
    inference = [log[-1]["inference_time"] for log in logs if "inference_time" in log[-1]]
    memory = max((line["memory"] for line in lines if "memory" in line), default=None)
    return *runs[0].operations, _median(steps), _median(inference), memory


def _check_unchanged(run: Run, task: str, reported: float | None, ap: float) -> None:
    """Refuse a run whose AP is not that of its detections on the validation set as it is."""
    expected = np.nan if reported is None else reported
    if not np.isclose(ap, expected, rtol=0, atol=1e-6, equal_nan=True):
        raise UserError(
            "the validation set has changed since the run was evaluated",
            file=run.results_file,
            key=f"{task}/AP",
            found=reported,
            expected=f"{ap}, on the validation set as it is",
            remedy=f"evaluate it anew: {run.evaluate_command}",
        )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
