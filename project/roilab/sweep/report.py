"""The report of a sweep, finished or not: tables, plots and pictures."""

import csv
import io
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from roilab.engine.run_folder import Run
from roilab.escaping import csv_cell
from roilab.evaluation.analysis import IOU_THRESHOLDS
from roilab.evaluation.ap import TASK_NAMES
from roilab.evaluation.bootstrap import METRICS, PairedDifference, paired_difference
from roilab.files import write_whole
from roilab.reporting import plots
from roilab.reporting.document import (
    Picture,
    Plot,
    Section,
    Table,
    to_html,
    to_latex,
    to_markdown,
    write_attachments,
)
from roilab.sweep.pictures import comparison, most_different
from roilab.sweep.plan import Arm, Sweep, Trial
from roilab.sweep.results import LEAST_SCORE, Collector, Cost, Found
from roilab.sweep.runner import State
from roilab.text import counted

_PICTURES = 6
_READING = (
    "AP in percent on the validation set: the mean over seeds ± the sample standard deviation. "
    "Intervals hold the true difference in about 95 of 100 cases: images are drawn with "
    "replacement, the same for both arms"
)
_SEEDS = ", and the mean over seeds varies as Student's t."
_DASH = "-"


class Report:
    """The report of one sweep. It reads each run once, however often it is written.

    Args:
        commands: that the sweep was made by; shown.
    """

    def __init__(self, sweep: Sweep, commands: Sequence[str]) -> None:
        self.sweep, self.commands = sweep, commands
        self.collector = Collector(sweep.metrics)

    def write(self, folder: Path, states: Mapping[Trial, State]) -> None:
        """Write report.md, report.csv, report.tex and report.html, with plots and pictures.

        Args:
            states: of all cells, in order.
        """
        sections = self.sections(states)
        write_attachments(folder, sections)
        title = self.sweep.name
        write_whole(folder / "report.md", to_markdown(title, sections))
        write_whole(folder / "report.html", to_html(title, sections))
        write_whole(folder / "report.tex", to_latex(sections))
        write_whole(folder / "report.csv", values(states))

    def sections(self, states: Mapping[Trial, State]) -> list[Section]:
        """All that is known so far."""
        done, tasks = _done(states), _tasks(states)
        found = [self._beginning(states), *self._headline(states)]
        if done:
            found += [self._strictness(task, done) for task in tasks]
            found += self._classes(done, tasks) + self._joints(done)
            found += [self._cost(done), *self._pictures(done)]
        return [*found, self._arms(), _runs(states)]

    def headline(self, states: Mapping[Trial, State]) -> str:
        """The tables of the report without plots, as Markdown for a terminal."""
        sections = [
            replace(section, parts=[part for part in section.parts if isinstance(part, Table)])
            for section in self._headline(states)
        ]
        return to_markdown(self.sweep.name, sections)

    def _headline(self, states: Mapping[Trial, State]) -> list[Section]:
        tasks = [self._task(task, states) for task in _tasks(states)]
        return [*tasks, *self._differences(_done(states))]

    def _of(self, arm: Arm, cells: Sequence[Trial]) -> list[Trial]:
        return [cell for cell in cells if cell.arm == arm]

    def _beginning(self, states: Mapping[Trial, State]) -> Section:
        done = _done(states)
        seeds = sorted({cell.seed for cell in done})
        text = [
            self.sweep.question,
            *(f"`{command}`" for command in self.commands),
            f"{len(done)} of {len(states)} runs are done. {_origin(done)}",
            _READING + (_SEEDS if len(seeds) > 1 else "."),
        ]
        if len(seeds) == 1:
            text.append(
                f"There is one seed ({seeds[0]}): the intervals are of other images alone, and say "
                "nothing of how far another training would differ."
            )
        text += sorted({self.collector.of(cell).limits for cell in done})
        return Section("", text)

    def _task(self, task: str, states: Mapping[Trial, State]) -> Section:
        """AP of each arm, and what was published of such an arm beside it."""
        published = [
            name
            for name in METRICS
            if any(f"{task}/{name}" in arm.published for arm in self.sweep.arms)
        ]
        rows = []
        for arm in self.sweep.arms:
            results = [
                state.results[task]
                for cell, state in states.items()
                if cell.arm == arm and state.results and task in state.results
            ]
            runs = sum(cell.arm == arm for cell in states)
            ours = [_spread([each.get(name) for each in results]) for name in METRICS]
            theirs = [_number(arm.published.get(f"{task}/{name}")) for name in published]
            rows.append([arm.name, f"{len(results)} of {runs}", *ours, *theirs])
        head = ["arm", "runs", *METRICS, *(f"published {name}" for name in published)]
        text = f"Published: {self.sweep.source}." if published else ""
        return Section(f"{TASK_NAMES[task].capitalize()} AP", text, [Table(head, rows)])

    def _differences(self, done: Sequence[Trial]) -> list[Section]:
        """The differences of each arm to the baseline, over the seeds that both have."""
        rows, bars = [], {}
        for arm in self.sweep.others():
            for name, found in self._apart(arm, done).items():
                place = f"{TASK_NAMES[name.partition('/')[0]]} {name.partition('/')[2]}"
                interval = f"{found.low:+.1f} to {found.high:+.1f}"
                value, seeds = f"{found.value:+.1f}", str(found.seeds)
                rows.append([arm.name, place, value, interval, seeds, found.conclusion])
                bars[f"{arm.name}, {place}"] = (found.low, found.value, found.high)
        if not rows:
            return []
        title = f"Difference to {self.sweep.baseline}"
        plot = plots.intervals(bars, title, "difference of AP, with its 95% interval")
        head = ["arm", "metric", "difference", "95% interval", "seeds", "reading"]
        return [Section(title, (), [Table(head, rows), Plot("differences", plot)])]

    def _apart(self, arm: Arm, done: Sequence[Trial]) -> dict[str, PairedDifference]:
        """By metric."""
        pairs = list(self._pairs(arm, done).values())
        if not pairs:
            return {}
        found = {}
        there = pairs[0][0].draws.keys() & pairs[0][1].draws.keys()
        for name in (name for name in self.sweep.metrics if name in there):
            a, b = (np.stack([pair[side].draws[name] for pair in pairs]) for side in (0, 1))
            apart = paired_difference(a, b, len(pairs[0][0].dataset))
            if apart is not None:
                found[name] = apart
        return found

    def _pairs(self, arm: Arm, done: Sequence[Trial]) -> dict[int, tuple[Found, Found]]:
        """The results of an arm and of the baseline, for each seed that both have."""
        ours, theirs = (
            {cell.seed: self.collector.of(cell) for cell in done if cell.arm.name == name}
            for name in (arm.name, self.sweep.baseline)
        )
        pairs = {seed: (ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())}
        # On other data, which the name tells, there is nothing to pair.
        same = all(one.dataset.name == other.dataset.name for one, other in pairs.values())
        return pairs if same else {}

    def _strictness(self, task: str, done: Sequence[Trial]) -> Section:
        lines = {}
        for arm in self.sweep.arms:
            runs = [self.collector.of(cell).strictness for cell in self._of(arm, done)]
            if any(task in run for run in runs):
                lines[arm.name] = [
                    _mean(each) for each in zip(*(run[task] for run in runs), strict=True)
                ]
        measure = "OKS" if task == "keypoints" else "IoU"
        title = f"{TASK_NAMES[task].capitalize()} AP by {measure} threshold"
        plot = plots.curves(
            lines, IOU_THRESHOLDS, title, f"least {measure} of a match", "AP, percent"
        )
        rows = [[name, *map(_number, values)] for name, values in lines.items()]
        head = ["arm", *(f"{threshold:.2f}" for threshold in IOU_THRESHOLDS)]
        return Section(title, (), [Table(head, rows), Plot(f"strictness_{task}", plot)])

    def _classes(self, done: Sequence[Trial], tasks: Sequence[str]) -> list[Section]:
        """AP of each class, where there are several."""
        results = {
            arm: [self.collector.of(c).results for c in self._of(arm, done)]
            for arm in self.sweep.arms
        }
        columns = list(
            dict.fromkeys(
                (task, name)
                for task in tasks
                for runs in results.values()
                for run in runs
                for name in run.get(task, {})
                if name.startswith("AP-")
            )
        )
        if len({name for _, name in columns}) < 2:
            return []
        rows = [
            [arm.name, *(_spread([r[t].get(n) for r in runs if t in r]) for t, n in columns)]
            for arm, runs in results.items()
        ]
        head = ["arm", *(f"{TASK_NAMES[task]}, {name[len('AP-') :]}" for task, name in columns)]
        return [Section("AP of each class", (), [Table(head, rows)])]

    def _joints(self, done: Sequence[Trial]) -> list[Section]:
        """A row a joint, since there may be many, and a column an arm."""
        columns = {}
        for arm in self.sweep.arms:
            runs = [self.collector.of(cell).joints for cell in self._of(arm, done)]
            runs = [run for run in runs if run]
            if runs:
                columns[arm.name] = {
                    joint: _mean([run[joint] for run in runs]) for joint in runs[0]
                }
        joints = list(dict.fromkeys(joint for column in columns.values() for joint in column))
        if not joints:
            return []
        text = (
            "The mean term of a joint in the OKS of objects that are found at OKS 0.5, from 0 to "
            "1. An arm that finds fewer objects may find the easier ones."
        )
        rows = [
            [joint, *(_number(column.get(joint), 3) for column in columns.values())]
            for joint in joints
        ]
        return [Section("Joints", text, [Table(["joint", *columns], rows)])]

    def _cost(self, done: Sequence[Trial]) -> Section:
        costs = {
            arm.name: self.collector.cost(self._of(arm, done))
            for arm in self.sweep.arms
            if self._of(arm, done)
        }
        text = (
            "Operations are those of convolutions and matrix products in inference, for one of the "
            "first four images, and grow with what is found there; a multiplication and an "
            "addition are two. Times are medians of the runs as they were, "
            "beside whatever else the machine did."
        )
        head = ["arm", "parameters, M", "GFLOP an image", "s a training step"]
        head += ["ms an image, inference", "memory of the training, GiB"]
        rows = [[name, *_cost_row(cost)] for name, cost in costs.items()]
        return Section("Cost", text, [Table(head, rows)])

    def _pictures(self, done: Sequence[Trial]) -> list[Section]:
        """Pictures of the images where the baseline differs most from the arm farthest from it."""
        found = {arm: self._apart(arm, done) for arm in self.sweep.others()}
        # By the first metric that is compared.
        apart = {arm: next(iter(each.items())) for arm, each in found.items() if each}
        if not apart:
            return []
        arm = max(apart, key=lambda arm: abs(apart[arm][1].value))
        task = apart[arm][0].partition("/")[0]
        pairs = self._pairs(arm, done)
        other, one = zip(*pairs.values(), strict=True)
        places = most_different(
            [each.image_ap50[task] for each in one],
            [each.image_ap50[task] for each in other],
            _PICTURES,
        )
        names = [self.sweep.baseline, arm.name]
        pictures = []
        for number, (at, more) in enumerate(places, 1):
            file = Path(other[0].images()[at]["file_name"]).name
            caption = f"{file}: per-image AP@0.5 {more:+.0f} with {arm.name}"
            jpeg = comparison(at, one[0], other[0], names)
            pictures.append(Picture(str(number), jpeg, caption))
        text = (
            f"The images on which {names[0]} and {names[1]} differ most in {TASK_NAMES[task]} "
            "AP@0.5 of the single image, the mean over seeds, which is not COCO AP50. Drawn is "
            f"seed {min(pairs)}, from score {LEAST_SCORE} on."
        )
        return [Section("Where they differ most", text, pictures)]

    def _arms(self) -> Section:
        arms = self.sweep.arms
        shared = [text for text in arms[0].overrides if all(text in a.overrides for a in arms)]
        rows = [
            [
                arm.name,
                arm.config_file,
                shlex.join(each for each in arm.overrides if each not in shared) or _DASH,
                arm.weights_of or _DASH,
            ]
            for arm in arms
        ]
        text = f"All of them: `{shlex.join(shared)}`" if shared else ""
        return Section("Arms", text, [Table(["arm", "config", "overrides", "weights of"], rows)])


def values(states: Mapping[Trial, State]) -> str:
    """A CSV file for people: arm, seed, task, metric, value; unrounded. No name is a formula."""
    written = io.StringIO()
    writer = csv.writer(written)  # with "\n" as line end it would not quote a "\r" in a name
    writer.writerow(["arm", "seed", "task", "metric", "value"])
    for cell, state in states.items():
        for task, metrics in (state.results or {}).items():
            for name, value in metrics.items():
                names = map(csv_cell, (task, name))
                writer.writerow(
                    [csv_cell(cell.arm.name), cell.seed, *names, "" if value is None else value]
                )
    return written.getvalue()


def _done(states: Mapping[Trial, State]) -> list[Trial]:
    return [cell for cell, state in states.items() if state.kind == "done"]


def _tasks(states: Mapping[Trial, State]) -> list[str]:
    return [task for task in TASK_NAMES if any(task in (s.results or {}) for s in states.values())]


def _runs(states: Mapping[Trial, State]) -> Section:
    rows = []
    for cell, state in states.items():
        took = str(timedelta(seconds=round(state.seconds))) if state.seconds else _DASH
        rows.append(
            [cell.arm.name, str(cell.seed), str(state.iterations or _DASH), took, state.text]
        )
    return Section("Runs", (), [Table(["arm", "seed", "iterations", "time", "state"], rows)])


def _origin(done: Sequence[Trial]) -> str:
    """Commits, versions and machines of the runs, in a sentence."""
    starts = [start for cell in done for start in Run(cell.folder).starts()]
    if not starts:
        return ""

    def all_of(name: str, values: Iterable[object]) -> str:
        return f"{name} {', '.join(sorted({str(value) for value in values}))}"

    commits = []
    for start in starts:
        code = start.get("code") or {"commit": "unknown", "dirty": False}
        commits.append(code["commit"][:7] + (" with changes" if code["dirty"] else ""))
    machines = [", ".join(start.get("gpus") or [*_cpu(start), *_cores(start)]) for start in starts]
    torch = [start.get("versions", {}).get("torch", "unknown") for start in starts]
    return f"{all_of('Commit', commits)}; {all_of('torch', torch)}; {all_of('on', machines)}."


def _cpu(start: Mapping[str, Any]) -> list[str]:
    return [start.get("cpu") or "an unknown processor"]


def _cores(start: Mapping[str, Any]) -> list[str]:
    """In a list, which is empty for a run that has not noted it."""
    return [counted(start["cores"], "core")] if "cores" in start else []


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def _spread(values: Sequence[float | None]) -> str:
    """Mean and deviation over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return _DASH
    deviation = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.1f}{deviation}"


def _number(value: float | None, digits: int = 1, scale: float = 1) -> str:
    return _DASH if value is None else f"{scale * value:.{digits}f}"


def _cost_row(cost: Cost) -> list[str]:
    return [
        _number(cost.parameters, 2, 1e-6),
        _number(cost.operations, 2, 1e-9),
        _number(cost.step, 3),
        _number(cost.inference, 1, 1000),
        _number(cost.memory, 2),
    ]
