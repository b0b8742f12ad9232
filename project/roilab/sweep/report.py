"""The table of a sweep: mean and deviation over seeds for each arm."""

import statistics
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from roilab.sweep.plan import Cell
from roilab.sweep.run import State

_COLUMNS = {
    "box AP": ("bbox", "AP"),
    "box AP50": ("bbox", "AP50"),
    "mask AP": ("segm", "AP"),
    "mask AP50": ("segm", "AP50"),
    "keypoint AP": ("keypoints", "AP"),
    "keypoint AP50": ("keypoints", "AP50"),
}
_ADVICE = (
    "AP in percent, mean ± standard deviation over the seeds. A difference that is not clearly "
    "larger than the deviations is not to be believed."
)


def report(command: str, hardware: str, cells: Mapping[Cell, State]) -> str:
    """The Markdown report of a sweep, finished or not.

    Args:
        command: the command that makes it; shown.
        hardware: on what it ran, and which commit; shown.
        cells: all cells in order, with their states.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    done = [state for state in cells.values() if state.kind == "done"]
    shown = {
        title: place
        for title, place in _COLUMNS.items()
        if any(_value(state, place) is not None for state in done)
    }
    values = {
        (arm, title): [
            value
            for cell, state in cells.items()
            if cell.arm == arm and (value := _value(state, place)) is not None
        ]
        for arm in arms
        for title, place in shown.items()
    }
    summary = [
        [
            arm.name,
            sum(state.kind == "done" for cell, state in cells.items() if cell.arm == arm),
            *(_spread(values[arm, title]) for title in shown),
        ]
        for arm in arms
    ]
    differences = [
        [arm.name, *(_difference(values[arm, title], values[arms[0], title]) for title in shown)]
        for arm in arms[1:]
    ]
    each = [
        [
            cell.arm.name,
            cell.seed,
            *(_number(_value(state, place)) for place in shown.values()),
            f"failed: {state.error}".replace("|", "\\|") if state.kind == "failed" else state.kind,
        ]
        for cell, state in cells.items()
    ]
    parts = [
        "# Sweep",
        f"    {command}",
        hardware,
        f"{len(done)} of {len(cells)} runs are done. {_ADVICE}",
        _table(summary, ["arm", "runs", *shown]),
    ]
    if differences and shown:
        parts += [
            f"Difference of the means to {arms[0].name}:",
            _table(differences, ["arm", *shown]),
        ]
    parts += ["## Runs", _table(each, ["arm", "seed", *shown, "state"]), "## Arms"]
    parts += ["\n".join(f"- {arm.name}: `{' '.join(arm.overrides) or 'as is'}`" for arm in arms)]
    return "\n\n".join(parts) + "\n"


def _value(state: State, place: tuple[str, str]) -> float | None:
    return (state.results or {}).get(place[0], {}).get(place[1])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return _number(values[0] if values else None)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def _difference(values: Sequence[float], baseline: Sequence[float]) -> str:
    if not values or not baseline:
        return "-"
    return f"{statistics.mean(values) - statistics.mean(baseline):+.1f}"


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
