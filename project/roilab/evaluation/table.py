"""The AP table."""

from collections.abc import Mapping

from tabulate import tabulate

_TITLES = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}
_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def table(results: Mapping[str, Mapping[str, float | None]]) -> str:
    """A Markdown table: a row for each task over all classes, then one for each task and class."""

    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    lines = []
    for task, metrics in results.items():
        lines.append(
            [_TITLES.get(task, task), "all", *(cell(metrics.get(name)) for name in _METRICS)]
        )
    for task, metrics in results.items():
        classes = [name[len("AP-") :] for name in metrics if name.startswith("AP-")]
        if len(classes) > 1 or task == "keypoints":
            for name in classes:
                pair = (cell(metrics[f"AP-{name}"]), cell(metrics[f"AP50-{name}"]))
                lines.append([_TITLES.get(task, task), name, *pair, "", "", "", ""])
    return tabulate(
        lines,
        headers=["task", "class", *_METRICS],
        tablefmt="github",
        disable_numparse=True,
        colalign=("left", "left", *["right"] * len(_METRICS)),
    )
