"""The report of a sweep, finished or not: tables, plots and pictures."""

import csv
import io
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from roilab.engine.run_record import read_record
from roilab.escaping import csv_cell
from roilab.evaluation.ap import IOU_THRESHOLDS, METRICS, TASK_NAMES
from roilab.evaluation.bootstrap import PairedDifference, interval_of_mean, paired_difference
from roilab.evaluation.published import TABLES
from roilab.files import write_whole
from roilab.inference.rendering import PAGE_QUALITY, draw_comparison, jpeg
from roilab.reporting import document, plots, rows_beside_published
from roilab.reporting.document import Picture, Plot, Section, Table, decimal
from roilab.sweep.plan import Sweep, Trial
from roilab.sweep.results import (
    LEAST_SCORE,
    ResultsReader,
    RunResults,
    costs,
    mean_of_known,
    mean_over_folds,
)
from roilab.sweep.state import State, iterations_of, logged_values
from roilab.text import counted

_PICTURES = 6
_DASH = "-"

# The results of the runs that are done, by arm and seed, in a cross-validation of all folds
# together; every arm of the sweep is a key.
ResultsByArm = Mapping[str, Mapping[int, RunResults]]


def write_report(
    sweep: Sweep, states: Mapping[Trial, State], folder: Path, reader: ResultsReader
) -> str:
    """Write report.md, report.csv, report.tex and report.html, with plots and pictures.

    The states are those of the trials, in their order.

    Returns the AP and the differences without plots, as Markdown for a terminal.
    """
    results = _results(sweep, states, reader)
    tasks = _tasks(results)
    headline = [_task(task, sweep, results) for task in tasks] + _cityscapes(results)
    headline += _comparison(sweep, results)
    sections = [_beginning(sweep, states, results), *headline]
    if any(results.values()):
        sections += [_thresholds(task, results) for task in tasks]
        sections += _classes(tasks, results) + _keypoints(results)
        sections += [_cost(results), *_pictures(sweep, results)]
    sections += [_arms(sweep), _runs(states)]

    document.write_attachments(folder, sections)
    write_whole(folder / "report.md", document.to_markdown(sweep.name, sections))
    write_whole(folder / "report.html", document.to_html(sweep.name, sections))
    write_whole(folder / "report.tex", document.to_latex(sections))
    write_whole(folder / "report.csv", _values(states))

    without_plots = []
    for section in headline:
        tables = [part for part in section.parts if isinstance(part, Table)]
        without_plots.append(replace(section, parts=tables))
    return document.to_markdown(sweep.name, without_plots)


def _results(
    sweep: Sweep, states: Mapping[Trial, State], reader: ResultsReader
) -> dict[str, dict[int, RunResults]]:
    """The results of each arm and seed; in a cross-validation, where all folds are done."""
    folds: dict[tuple[str, int], list[RunResults]] = {}
    for trial, state in states.items():
        if state.kind == "done":
            folds.setdefault((trial.arm.name, trial.seed), []).append(reader.read(trial))
    results: dict[str, dict[int, RunResults]] = {arm.name: {} for arm in sweep.arms}
    for (arm, seed), runs in folds.items():
        if len(runs) == max(1, len(sweep.folds)):
            results[arm][seed] = mean_over_folds(runs)
    return results


def _beginning(sweep: Sweep, states: Mapping[Trial, State], results: ResultsByArm) -> Section:
    done = [trial for trial, state in states.items() if state.kind == "done"]
    seeds = sorted({seed for of_arm in results.values() for seed in of_arm})
    method = (
        "AP in percent on the validation set: the mean over seeds ± the sample standard "
        "deviation. Intervals hold the true difference in about 95 of 100 cases: images are "
        "drawn with replacement, the same for both arms"
    )
    if len(seeds) > 1:
        method += ", and the mean over seeds varies as Student's t"
    text = [
        sweep.question,
        *(f"`{command}`" for command in sweep.commands),
        f"{len(done)} of {len(states)} runs are done. {_origin(done)}",
        f"{method}.",
    ]
    if sweep.folds:
        text.append(
            f"A cross-validation with {len(sweep.folds)} folds: AP is the mean over the folds, "
            "each on the images that its training did not have, and images are drawn within each "
            "fold. An arm is reported with a seed when all folds are done; costs and pictures are "
            "those of fold 0."
        )
    if len(seeds) == 1:
        text.append(
            f"There is one seed ({seeds[0]}): the intervals are of other images alone, and say "
            "nothing of how far another training would differ."
        )
    text += sorted({run.limits for run in _all_runs(results)})
    return Section("", text)


def _all_runs(results: ResultsByArm) -> list[RunResults]:
    return [run for of_arm in results.values() for run in of_arm.values()]


def _tasks(results: ResultsByArm) -> list[str]:
    runs = _all_runs(results)
    return [task for task in TASK_NAMES if any(task in run.results for run in runs)]


def _task(task: str, sweep: Sweep, results: ResultsByArm) -> Section:
    """The AP of each arm with its interval, beside the published AP of such an arm."""
    arms = sweep.arms
    published = [name for name in METRICS if any(f"{task}/{name}" in arm.published for arm in arms)]
    rows = []
    for arm in arms:
        runs = [run for run in results[arm.name].values() if task in run.results]
        ours = [_mean_and_deviation(runs, task, name) for name in METRICS]
        ours.insert(1, _interval(runs, f"{task}/AP"))
        theirs = [decimal(arm.published.get(f"{task}/{name}")) for name in published]
        rows.append([arm.name, f"{len(runs)} of {len(sweep.seeds)}", *ours, *theirs])
    names = ["AP", "95% interval of AP", *list(METRICS)[1:]]
    head = ["arm", "runs", *names, *(f"published {name}" for name in published)]
    text = f"Published: {sweep.source}." if published else ""
    return Section(f"{TASK_NAMES[task].capitalize()} AP", text, [Table(head, rows)])


def _interval(runs: Sequence[RunResults], name: str) -> str:
    """The interval of a metric's mean over seeds; a dash where the runs are on different data."""
    if not runs or any(run.data != runs[0].data or name not in run.draws for run in runs):
        return _DASH
    interval = interval_of_mean(np.stack([run.draws[name] for run in runs]))
    if interval is None:
        return _DASH
    low, _, high = interval
    return f"{max(0.0, low):.1f} to {min(100.0, high):.1f}"  # no AP lies beyond


def _cityscapes(results: ResultsByArm) -> list[Section]:
    """The AP of each arm on Cityscapes in the columns of the published table, above its rows."""
    runs = _all_runs(results)
    if not runs or not all(run.dataset.is_cityscapes for run in runs):
        return []
    table = TABLES["table7"]
    metrics = [metric.partition("/") for metric in table.columns.values()]
    rows = [
        [arm, *(_mean_and_deviation(of_arm.values(), task, name) for task, _, name in metrics)]
        for arm, of_arm in results.items()
    ]
    return rows_beside_published(table, rows)


def _comparison(sweep: Sweep, results: ResultsByArm) -> list[Section]:
    """The differences to the baseline with their intervals, as a table and a plot."""
    rows = []
    bars = {}
    for (arm, name), difference in _differences(sweep, results).items():
        task, _, metric = name.partition("/")
        title = f"{TASK_NAMES[task]} {metric}"
        value = f"{difference.value:+.1f}"
        interval = f"{difference.low:+.1f} to {difference.high:+.1f}"
        seeds = str(difference.seeds)
        rows.append([arm, title, value, interval, seeds, difference.conclusion])
        bars[f"{arm}, {title}"] = (difference.low, difference.value, difference.high)
    if not rows:
        return []
    title = f"Difference to {sweep.baseline}"
    plot = plots.intervals(bars, title, "difference of AP, with its 95% interval")
    head = ["arm", "metric", "difference", "95% interval", "seeds", "reading"]
    return [Section(title, (), [Table(head, rows), Plot("differences", plot)])]


def _differences(sweep: Sweep, results: ResultsByArm) -> dict[tuple[str, str], PairedDifference]:
    """The differences to the baseline, by arm and metric, over the seeds that both have."""
    differences = {}
    for arm in results:
        seeds, ours, baseline = _pairs(sweep, arm, results)
        if arm == sweep.baseline or not seeds:
            continue
        for name in sweep.metrics:
            if name not in ours[0].draws or name not in baseline[0].draws:
                continue
            values = np.stack([run.draws[name] for run in ours])
            before = np.stack([run.draws[name] for run in baseline])
            difference = paired_difference(values, before, ours[0].images)
            if difference is not None:
                differences[arm, name] = difference
    return differences


def _pairs(
    sweep: Sweep, arm: str, results: ResultsByArm
) -> tuple[list[int], list[RunResults], list[RunResults]]:
    """The seeds that an arm and the baseline both have, and the results of both with them."""
    ours = results[arm]
    baseline = results[sweep.baseline]
    seeds = sorted(ours.keys() & baseline.keys())
    # Runs on other data, which have another name, are not compared.
    if any(ours[seed].data != baseline[seed].data for seed in seeds):
        seeds = []
    return seeds, [ours[seed] for seed in seeds], [baseline[seed] for seed in seeds]


def _thresholds(task: str, results: ResultsByArm) -> Section:
    """AP at each threshold of IoU or OKS, the mean over seeds."""
    lines = {}
    for arm, runs in results.items():
        curves = [run.ap_by_iou[task] for run in runs.values() if task in run.ap_by_iou]
        if curves:
            lines[arm] = [mean_of_known(values) for values in zip(*curves, strict=True)]
    measure = "OKS" if task == "keypoints" else "IoU"
    title = f"{TASK_NAMES[task].capitalize()} AP by {measure} threshold"
    plot = plots.curves(
        lines, IOU_THRESHOLDS, title, xlabel=f"least {measure} of a match", ylabel="AP, percent"
    )
    rows = [[name, *values] for name, values in lines.items()]
    head = ["arm", *(f"{threshold:.2f}" for threshold in IOU_THRESHOLDS)]
    return Section(title, (), [Table(head, rows), Plot(f"thresholds_{task}", plot)])


def _classes(tasks: Sequence[str], results: ResultsByArm) -> list[Section]:
    """AP of each class, where there are several."""
    runs = _all_runs(results)
    columns: dict[tuple[str, str], str] = {}  # task, metric -> heading
    for task in tasks:
        for run in runs:
            for name in run.results.get(task, {}):
                if name.startswith("AP-"):
                    columns[task, name] = f"{TASK_NAMES[task]}, {name.removeprefix('AP-')}"
    if len({name for _, name in columns}) < 2:
        return []
    rows = []
    for arm, of_arm in results.items():
        cells = [_mean_and_deviation(of_arm.values(), task, name) for task, name in columns]
        rows.append([arm, *cells])
    return [Section("AP of each class", (), [Table(["arm", *columns.values()], rows)])]


def _keypoints(results: ResultsByArm) -> list[Section]:
    """The OKS of keypoints: a row for each, since there may be many, and a column for each arm."""
    columns = {}
    for arm, runs in results.items():
        terms = [run.keypoint_oks for run in runs.values() if run.keypoint_oks]
        if terms:
            columns[arm] = {name: mean_of_known([run[name] for run in terms]) for name in terms[0]}
    if not columns:
        return []
    text = (
        "The mean term of a keypoint in the OKS of objects that are found at OKS 0.5, from 0 to "
        "1. An arm that finds fewer objects may find the easier ones."
    )
    keypoints = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [
        [name, *(decimal(column.get(name), 3) for column in columns.values())] for name in keypoints
    ]
    return [Section("Keypoints", text, [Table(["keypoint", *columns], rows)])]


def _cost(results: ResultsByArm) -> Section:
    text = (
        "Operations are those of convolutions and matrix products in inference, for one of the "
        "first four images, and grow with what is found there; a multiplication and an "
        "addition are two. Times are medians of the runs as they were, "
        "beside whatever else the machine did."
    )
    columns = {  # heading -> digits, scale
        "parameters, M": (2, 1e-6),
        "GFLOP an image": (2, 1e-9),
        "s a training step": (3, 1),
        "ms an image, inference": (1, 1000),
        "memory of the training, GiB": (2, 1),
    }
    rows = []
    for arm, runs in results.items():
        if runs:
            values = zip(costs(list(runs.values())), columns.values(), strict=True)
            cells = [decimal(cost, digits, scale) for cost, (digits, scale) in values]
            rows.append([arm, *cells])
    return Section("Cost", text, [Table(["arm", *columns], rows)])


def _pictures(sweep: Sweep, results: ResultsByArm) -> list[Section]:
    """Pictures of the images where the baseline and the arm farthest from it differ most."""
    differences = _differences(sweep, results)
    if not differences:
        return []
    first: dict[str, str] = {}  # the first metric that is compared, by arm
    for arm, name in differences:
        first.setdefault(arm, name)
    arm = max(first, key=lambda arm: abs(differences[arm, first[arm]].value))
    task = first[arm].partition("/")[0]
    seeds, ours, baseline = _pairs(sweep, arm, results)
    before = [run.image_ap50[task] for run in baseline]
    after = [run.image_ap50[task] for run in ours]
    ranked = most_different(before, after, _PICTURES)

    dataset = ours[0].dataset
    pictures = []
    # The values are in the order of the images' ids.
    records = sorted(dataset.records, key=lambda record: record["image_id"])
    for place, (position, more) in enumerate(ranked, 1):
        record = records[position]
        runs = {sweep.baseline: baseline[0], arm: ours[0]}
        predicted = {name: run.drawn.get(record["image_id"], []) for name, run in runs.items()}
        picture = draw_comparison(record, dataset, predicted, original=True)
        caption = f"{Path(record['file_name']).name}: per-image AP@0.5 {more:+.0f} with {arm}"
        pictures.append(Picture(str(place), jpeg(picture, PAGE_QUALITY), caption))
    text = (
        f"The images on which {sweep.baseline} and {arm} differ most in {TASK_NAMES[task]} AP@0.5 "
        "of the single image, the mean over seeds, which is not COCO AP50. Drawn is seed "
        f"{seeds[0]}, from score {LEAST_SCORE} on."
    )
    return [Section("Where they differ most", text, pictures)]


def most_different(
    baseline: Sequence[Sequence[float | None]], values: Sequence[Sequence[float | None]], count: int
) -> list[tuple[int, float]]:
    """Positions of the images whose values differ most, and their differences to the baseline.

    Args:
        baseline, values: S x I, a value of each image for each seed; None: it has none.
    """
    before = np.array(baseline, float).mean(axis=0)
    after = np.array(values, float).mean(axis=0)
    differences = np.nan_to_num(after - before)
    ranked = sorted(range(len(differences)), key=lambda at: (-abs(differences[at]), at))
    return [(at, float(differences[at])) for at in ranked[:count] if differences[at]]


def _arms(sweep: Sweep) -> Section:
    arms = sweep.arms
    shared = [text for text in arms[0].overrides if all(text in arm.overrides for arm in arms)]
    rows = []
    for arm in arms:
        own = shlex.join(text for text in arm.overrides if text not in shared)
        rows.append([arm.name, arm.config_file, own or _DASH, arm.weights_of or _DASH])
    text = f"All of them: `{shlex.join(shared)}`" if shared else ""
    return Section("Arms", text, [Table(["arm", "config", "overrides", "weights of"], rows)])


def _runs(states: Mapping[Trial, State]) -> Section:
    rows = []
    folds = any(trial.fold is not None for trial in states)
    for trial, state in states.items():
        time = str(timedelta(seconds=round(state.seconds))) if state.seconds else _DASH
        iterations = str(iterations_of(logged_values(trial)) or _DASH)
        place = [*([str(trial.fold)] if folds else []), str(trial.seed)]
        rows.append([trial.arm.name, *place, iterations, time, state.text])
    head = ["arm", *(["fold"] if folds else []), "seed", "iterations", "time", "state"]
    return Section("Runs", (), [Table(head, rows)])


def _values(states: Mapping[Trial, State]) -> str:
    """The text of report.csv: arm, fold, seed, task, metric, value; unrounded.

    The fold is left out where there is none. No name is a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text)  # with "\n" as line end it would not quote a "\r" in a name
    folds = any(trial.fold is not None for trial in states)
    writer.writerow(["arm", *(["fold"] if folds else []), "seed", "task", "metric", "value"])
    for trial, state in states.items():
        for task, metrics in (state.results or {}).items():
            for name, value in metrics.items():
                place = [*([trial.fold] if folds else []), trial.seed]
                names = [csv_cell(str(cell)) for cell in (trial.arm.name, *place, task, name)]
                writer.writerow([*names, value])  # csv writes None as ""
    return text.getvalue()


def _origin(trials: Sequence[Trial]) -> str:
    """Commits, versions and machines of the runs, in a sentence."""
    commits = set()
    versions = set()
    machines = set()
    for trial in trials:
        for start in read_record(trial.folder)["starts"]:
            code = start.get("code") or {"commit": "unknown", "dirty": False}
            commits.add(str(code["commit"])[:7] + (" with changes" if code["dirty"] else ""))
            versions.add(str(start.get("versions", {}).get("torch", "unknown")))
            cores = [counted(start["cores"], "core")] if "cores" in start else []
            processor = [start.get("cpu") or "an unknown processor", *cores]
            machines.add(", ".join(start.get("gpus") or processor))
    if not commits:
        return ""
    listed = [", ".join(sorted(values)) for values in (commits, versions, machines)]
    return f"Commit {listed[0]}; torch {listed[1]}; on {listed[2]}."


def _mean_and_deviation(runs: Iterable[RunResults], task: str, metric: str) -> str:
    """The mean over seeds ± the sample standard deviation, of the runs that have the metric."""
    values = [run.results.get(task, {}).get(metric) for run in runs]
    known = [value for value in values if value is not None]
    deviation = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{decimal(mean_of_known(known))}{deviation}"
