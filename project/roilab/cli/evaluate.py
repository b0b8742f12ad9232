"""Evaluate a run folder: box, mask and keypoint AP, and what explains it.

    roilab evaluate --run outputs/demo
    roilab evaluate --run outputs/demo --html outputs/demo/evaluation.html
    roilab evaluate --run outputs/demo --data other_via.json --images photos
    roilab evaluate --run outputs/demo --data coco.json --detections found.json
    roilab evaluate --run outputs/demo --weights model_best.pth --output best.json
    roilab evaluate --run outputs/demo --pictures outputs/demo/compared
    roilab evaluate --run outputs/coco --published table4
    roilab evaluate --run outputs/demo --tta

The AP is explained by the OKS of each keypoint, by precision and recall at the score of --score,
and by the classes that are confused. The page of --html adds AP by IoU threshold, the AP of single
images, and pictures of the worst; it needs no network and no script.

With --published, and by itself where the data are COCO's persons or Cityscapes, the results also
stand in the columns of a published table, above its rows: on the terminal, in the page, and in
--output.

--tta evaluates the model with test-time augmentation, over views of each image, and without, and
prints the differences in AP and in time with their 95% intervals.

Without overrides, the result is the run's own and is written to its results.json. With overrides,
--data, --images, --weights, --fast or --tta it is of other settings, data or weights: results.json
stays, and --output takes the result. --detections takes the detections as COCO result rows, with
the image and category ids of the annotation file.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.config import LazyCall as L
from omegaconf import DictConfig
from torch import nn

from roilab.cli.arguments import parser_of
from roilab.cli.console import ended, progress, say
from roilab.cli.shared_arguments import views_of
from roilab.cpu.optimize import optimize_for_inference
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.draw import Picture, fit
from roilab.engine import config, trusted
from roilab.engine.build_data import tasks_of
from roilab.engine.load_run import check_meaning, load_model, load_run_config
from roilab.engine.lock import locked
from roilab.engine.run_folder import FINAL, Run, open_run, reading
from roilab.engine.setup import limits_note, prepare
from roilab.engine.signals import Interrupted, Stop, stop_on_signals
from roilab.engine.validate import augmented_inference, evaluate_model
from roilab.errors import UserError
from roilab.evaluation import Evaluation, GroundTruth
from roilab.evaluation.analysis import Analysis, analyze
from roilab.evaluation.bootstrap import compare_detections
from roilab.evaluation.published import PublishedTable, published_table
from roilab.evaluation.tta import AugmentedInference
from roilab.files import write_whole
from roilab.inference import rendering
from roilab.inference.prefetch import result_of
from roilab.reporting import (
    AugmentationGain,
    analysis_text,
    ap_table,
    evaluation_page,
    published_sections,
    published_text,
)
from roilab.reporting.document import Section

WORST_PICTURES = 6
LONGEST_SIDE = 1600  # of a picture in the page, in pixels


def main(arguments: list[str]) -> int:
    args = parser_of("evaluate", __doc__).parse_args(arguments)
    trusted.allow(args.trust)
    run = open_run(args.run, args.weights)
    with stop_on_signals("ends here; the files that are named above are whole") as stop:
        try:
            with stop.at_once(), reading(run):
                evaluate_run(args, run, stop)
        except Interrupted as error:
            say(error, file=sys.stderr)
            return ended(error.status)
    return 0


def evaluate_run(args: argparse.Namespace, run: Run, stop: Stop) -> None:
    """Evaluate a run, print the result, and write the files of the options."""
    cfg = load_run_config(run, args.overrides)
    take_data(cfg, args, run)
    dataset = prepare(cfg, training=False).val
    check_meaning(run, dataset)
    published = published_table(args.published, dataset, tasks_of(cfg.model.roi_heads))
    model = load_model(run, cfg)
    views = views_of(args)
    tta = augmented_inference(cfg, model, views, run.skeleton()) if views else None
    about = [f"{run.weights} on {dataset.summary()}"]  # sentences, also for the page
    say(about[0])
    if views is not None:
        about.append(f"with test-time augmentation: {views}")
        say(about[-1])
    note = limits_note(cfg, dataset)
    if note:
        about.append(note)
        say(note)

    def evaluated(model: nn.Module, tta: AugmentedInference | None = None) -> Evaluation:
        bar = partial(progress, unit="batch")
        # In a thread, since a model cannot be interrupted.
        work = partial(evaluate_model, cfg, model, dataset, bar, args.max_memory, tta)
        return result_of(work, lambda: stop.requested)

    exact = plain = evaluated(model)
    if args.fast:
        kernels = cfg.train.cpu_kernels
        model = optimize_for_inference(model, fast=True, cpu_kernels=kernels)
        plain = evaluated(model)
    evaluation = plain if tta is None else evaluated(model, tta)
    say(ap_table(evaluation.results))
    if note:
        say(note)
    truth = GroundTruth(dataset.coco_json(), dataset.skeleton, cfg.evaluation.max_detections)
    tasks = list(evaluation.results)
    if args.fast:
        costs = compare_detections(truth, plain.detections, exact.detections, tasks)
        for task, cost in costs.items():
            say(
                f"{task} AP, fast against exact: {cost.value:+.2f}, on other images like these "
                f"{cost.low:+.2f} to {cost.high:+.2f} (95%)"
            )
    comparisons: list[Section] = []
    gain = None
    if views is not None:
        gain = AugmentationGain.of(truth, views, plain, evaluation)
        comparisons.append(gain.section())
        say(f"\n{gain.text()}\n")
    if "keypoints" in evaluation.results and dataset.skeleton is not None:
        about.append(
            f"OKS with the sigmas of {dataset.skeleton.name} and the area of the "
            f"{dataset.area_source}"
        )
        say(about[-1])
    if truth.is_cityscapes:
        about.append("mask AP is by the rules of Cityscapes, box AP by those of COCO")
        say(about[-1])
    if published is not None:
        comparisons += published_sections(published, evaluation.results)
        say(f"\n{published_text(published, evaluation.results)}")
    analysis = analyze(truth, evaluation.detections, tasks, args.score)
    say(f"\n{analysis_text(analysis)}\n")
    write_results(args, run, evaluation, dataset, published, gain)
    if args.html is not None or args.pictures is not None:
        write_pictures(args, run, evaluation, dataset, analysis, about, comparisons)


def write_pictures(
    args: argparse.Namespace,
    run: Run,
    evaluation: Evaluation,
    dataset: DetectionDataset,
    analysis: Analysis,
    about: Sequence[str],
    comparisons: Sequence[Section],
) -> None:
    """Write the page and the pictures of the options, with annotations beside predictions."""
    rows = rendering.rows_by_image(evaluation.detections, args.score)

    def draw(record: Mapping[str, Any]) -> Picture:
        predicted = {"predicted": rows.get(record["image_id"], [])}
        return rendering.draw_comparison(record, dataset, predicted, blank=args.blank)

    if args.html is not None:
        title = f"{run.folder.resolve().name}: {run.weights.name}"
        records = sorted(dataset.records, key=lambda record: record["image_id"])
        pictures = {}  # by the place of the image among these
        for place in analysis.worst_images(WORST_PICTURES):
            picture = fit(draw(records[place]), LONGEST_SIDE)
            pictures[place] = rendering.jpeg(picture, rendering.PAGE_QUALITY)
        results = evaluation.results
        page = evaluation_page(title, about, results, analysis, pictures, comparisons)
        write_whole(args.html, page)
        say(f"page: {args.html}")
    if args.pictures is not None:
        names = rendering.picture_names([Path(record["file_name"]) for record in dataset.records])
        with rendering.picture_folder(args.pictures) as write:
            for record, name in zip(progress(dataset.records), names, strict=True):
                write(name, draw(record))
        together = args.pictures / rendering.OVERVIEW
        say(f"pictures, annotated beside predicted: {args.pictures}, together: {together}")


def take_data(cfg: DictConfig, args: argparse.Namespace, run: Run) -> None:
    """Replace the data of the run by those of the command line.

    Raises:
        UserError: there are --images without --data, and the run's data are no files.
    """
    is_replaced = args.data is not None or args.images is not None
    if "files" not in cfg.data.val and is_replaced:
        if args.data is None:
            raise UserError(
                "the run's data are registered, and have no folder of images",
                key="--images",
                expected="--data FILE beside it",
            )
        skeleton = run.folder / "skeleton.json"
        cfg.data.val = L(load_dataset)(
            files=[],
            classes=config.escaped(list(run.classes())),
            skeleton=config.escaped(str(skeleton)) if skeleton.is_file() else None,
        )
    if args.data is not None:
        cfg.data.val.files = config.escaped(list(map(str, args.data)))
    if args.images is not None:
        # One folder is for all files, a list has one for each.
        folders = list(map(str, args.images))
        cfg.data.val.images = config.escaped(folders[0] if len(folders) == 1 else folders)


def write_results(
    args: argparse.Namespace,
    run: Run,
    evaluation: Evaluation,
    dataset: DetectionDataset,
    published: PublishedTable | None,
    gain: AugmentationGain | None,
) -> None:
    """Write the AP and the detections, and print where they are."""
    is_final = run.weights.name == FINAL  # an interrupted training has no result yet
    is_other = args.overrides or args.weights or args.data or args.images or args.fast
    if is_final and not is_other and gain is None:
        with locked(run.lock_file):
            run.write_evaluation(evaluation, dataset.coco_ids)
        say(f"written to {run.results_file}")
    elif args.output is None:
        say("not the run's own result, and not written: --output FILE writes it")
    if args.output is not None:
        output: dict[str, Any] = dict(evaluation.results)
        if published is not None:
            output["published"] = asdict(published)
        if gain is not None:
            output["tta"] = gain.to_dict()
        write_whole(args.output, json.dumps(output, indent=2) + "\n")
        say(f"written to {args.output}")
    if args.detections is not None:
        rows = dataset.coco_ids.to_file(evaluation.detections)
        write_whole(args.detections, json.dumps(rows) + "\n")
        say(f"detections: {args.detections}")
