"""The AP table, and what is behind the AP as text for a terminal."""

import textwrap
from collections.abc import Mapping

from roilab.evaluation.ap import TASK_NAMES
from roilab.evaluation.bootstrap import METRICS
from roilab.evaluation.details import WorkingPoint
from roilab.evaluation.summary import Summary
from roilab.reporting.document import Cell, markdown_table

POINT = ("precision", "recall", "right", "wrong", "missed")
JOINTS = "mean OKS term of each joint, from 0 to 1"
_MOST_COLUMNS = 12  # of the confusion matrix, that a terminal takes


def ap_table(results: Mapping[str, Mapping[str, float | None]]) -> str:
    """A Markdown table: a row for each task over all classes, then one for each task and class."""
    return markdown_table(["task", "class", *METRICS], ap_rows(results), "github")


def ap_rows(results: Mapping[str, Mapping[str, float | None]]) -> list[list[Cell]]:
    """Task, class, and `METRICS` in percent, of which a class has the first two."""
    rows: list[list[Cell]] = [
        [TASK_NAMES.get(task, task), "all", *(metrics.get(name) for name in METRICS)]
        for task, metrics in results.items()
    ]
    for task, metrics in results.items():
        classes = [name[len("AP-") :] for name in metrics if name.startswith("AP-")]
        if len(classes) > 1 or task == "keypoints":
            for name in classes:
                pair = (metrics[f"AP-{name}"], metrics[f"AP50-{name}"])
                rows.append([TASK_NAMES.get(task, task), name, *pair, "", "", "", ""])
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
        markdown_table(["task", "class", *POINT], point_rows(summary), "github"),
    ]
    if len(summary.labels) <= _MOST_COLUMNS:
        rows: list[list[Cell]] = [
            [name, *counts]
            for name, counts in zip(summary.labels, summary.confusion.tolist(), strict=True)
        ]
        parts += [
            "from the same score on, boxes of the row's class found as the column's, at IoU 0.5:",
            markdown_table(["", *summary.labels], rows, "github"),
        ]
    return "\n\n".join(parts)


def point_rows(summary: Summary) -> list[list[Cell]]:
    """Task, class, and `POINT`: precision and recall in percent."""

    def percent(share: float | None) -> float | None:
        return None if share is None else 100 * share

    def row(task: str, name: str, point: WorkingPoint) -> list[Cell]:
        shares = (percent(point.precision), percent(point.recall))
        return [TASK_NAMES.get(task, task), name, *shares, point.right, point.wrong, point.missed]

    return [
        row(task, name, point)
        for task, found in summary.tasks.items()
        for name, point in found.points.items()
    ]


def decimals(term: float | None) -> str:
    """A share with two decimals, which tell joints apart."""
    return "-" if term is None else f"{term:.2f}"
