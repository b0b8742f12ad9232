"""The AP table, and what is behind the AP as text for a terminal."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from roilab.escaping import markdown_cell
from roilab.evaluation.bootstrap import METRICS
from roilab.evaluation.details import WorkingPoint
from roilab.evaluation.summary import Summary

TITLES = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}
POINT = ("precision", "recall", "right", "wrong", "missed")
JOINTS = "mean OKS term of each joint, from 0 to 1"
_MOST_COLUMNS = 12  # of the confusion matrix, that a terminal takes

Row = list[str | float | None]


def ap_table(results: Mapping[str, Mapping[str, float | None]]) -> str:
    """A Markdown table: a row for each task over all classes, then one for each task and class."""
    return _markdown(["task", "class", *METRICS], ap_rows(results), names=2)


def ap_rows(results: Mapping[str, Mapping[str, float | None]]) -> list[Row]:
    """Task, class, and `METRICS` in percent, of which a class has the first two."""
    rows: list[Row] = [
        [TITLES.get(task, task), "all", *(metrics.get(name) for name in METRICS)]
        for task, metrics in results.items()
    ]
    for task, metrics in results.items():
        classes = [name[len("AP-") :] for name in metrics if name.startswith("AP-")]
        if len(classes) > 1 or task == "keypoints":
            for name in classes:
                pair = (metrics[f"AP-{name}"], metrics[f"AP50-{name}"])
                rows.append([TITLES.get(task, task), name, *pair, "", "", "", ""])
    return rows


def analysis_text(summary: Summary) -> str:
    """Joints, working points and confused classes, each below what it is, for a terminal.

    The confused classes are left out where they are too many for its width.
    """
    parts = []
    if summary.joints:
        terms = ", ".join(f"{name} {decimals(term)}" for name, term in summary.joints.items())
        parts.append(textwrap.fill(f"{JOINTS}: {terms}", 100))
    parts += [
        f"from score {summary.score:g} on, at IoU or OKS 0.5:",
        _markdown(["task", "class", *POINT], point_rows(summary), names=2),
    ]
    if len(summary.labels) <= _MOST_COLUMNS:
        rows: list[Row] = [
            [name, *map(int, counts)]
            for name, counts in zip(summary.labels, summary.confusion, strict=True)
        ]
        parts += [
            "from the same score on, boxes of the row's class found as the column's, at IoU 0.5:",
            _markdown(["", *summary.labels], rows, names=1),
        ]
    return "\n\n".join(parts)


def point_rows(summary: Summary) -> list[Row]:
    """Task, class, and `POINT`: precision and recall in percent."""

    def percent(share: float | None) -> float | None:
        return None if share is None else 100 * share

    def row(task: str, name: str, point: WorkingPoint) -> Row:
        shares = (percent(point.precision), percent(point.recall))
        return [TITLES.get(task, task), name, *shares, point.right, point.wrong, point.missed]

    return [
        row(task, name, point)
        for task, found in summary.tasks.items()
        for name, point in found.points.items()
    ]


def decimals(term: float | None) -> str:
    """A share with two decimals, which tell joints apart."""
    return "-" if term is None else f"{term:.2f}"


def _markdown(head: Sequence[str], rows: Iterable[Row], names: int) -> str:
    """A table whose first columns are names, to the left; numbers are to the right."""

    def cell(value: str | float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.1f}" if isinstance(value, float) else markdown_cell(str(value))

    return tabulate(
        [[cell(value) for value in row] for row in rows],
        headers=list(map(markdown_cell, head)),
        tablefmt="github",
        disable_numparse=True,
        colalign=(*["left"] * names, *["right"] * (len(head) - names)),
    )
