"""The table of a sweep: mean and deviation over seeds for each arm."""

import statistics
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from roilab.sweep.plan import Arm, Cell
from roilab.sweep.run import State

_COLUMNS = {
    "box AP": ("bbox", "AP"),
    "box AP50": ("bbox", "AP50"),
    "mask AP": ("segm", "AP"),
    "mask AP50": ("segm", "AP50"),
    "keypoint AP": ("keypoints", "AP"),
    "keypoint AP50": ("keypoints", "AP50"),
}


def report(command: str, circumstances: str, cells: Mapping[Cell, State]) -> str:
    """The Markdown report of a sweep, finished or not.

    Args:
        command: the command that makes it; shown.
        circumstances: commit, versions and hardware, as a sentence; shown.
        cells: all cells in order (at least one), with their states.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    shown = {
        title: place
        for title, place in _COLUMNS.items()
        if any(_value(state, place) is not None for state in cells.values())
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
    first = next(iter(cells))
    parts = [
        "# Sweep",
        f"    {command}",
        f"Base config: `{first.arm.config_file}`. {circumstances}",
        _reading(cells),
        _table([_summary(arm, cells, values, shown) for arm in arms], ["arm", "runs", *shown]),
    ]
    if arms[1:] and shown:
        differences = [
            [arm.name, *(_difference(values[arm, t], values[arms[0], t]) for t in shown)]
            for arm in arms[1:]
        ]
        parts += [
            f"Difference of the means to {arms[0].name}:",
            _table(differences, ["arm", *shown]),
        ]
    headers = ["arm", "seed", "iterations", "seconds", *shown, "state"]
    parts += [
        "## Arms",
        "\n".join(f"- {arm.name}: `{' '.join(arm.overrides) or 'as the base'}`" for arm in arms),
        "## Runs",
        _table([_row(cell, state, shown) for cell, state in cells.items()], headers),
    ]
    return "\n\n".join(parts) + "\n"


def _reading(cells: Mapping[Cell, State]) -> str:
    """How much is done, and how far the numbers can be trusted."""
    done = sum(state.kind == "done" for state in cells.values())
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    progress = f"{done} of {len(cells)} runs are done. AP in percent on the validation set"
    if len(seeds) == 1:
        return (
            f"{progress}, of one seed ({seeds[0]}): nothing shows how far another seed would "
            "differ, and no difference here is to be believed."
        )
    return (
        f"{progress}: mean ± sample standard deviation over {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}). A difference smaller than the deviations is not to be "
        "believed."
    )


def _summary(
    arm: Arm,
    cells: Mapping[Cell, State],
    values: Mapping[tuple[Arm, str], Sequence[float]],
    shown: Mapping[str, tuple[str, str]],
) -> list[object]:
    runs = [state for cell, state in cells.items() if cell.arm == arm]
    done = sum(state.kind == "done" for state in runs)
    return [arm.name, f"{done} of {len(runs)}", *(_spread(values[arm, t]) for t in shown)]


def _row(cell: Cell, state: State, shown: Mapping[str, tuple[str, str]]) -> list[object]:
    return [
        cell.arm.name,
        cell.seed,
        state.iterations or "-",
        f"{state.seconds:.0f}" if state.seconds else "-",
        *(_number(_value(state, place)) for place in shown.values()),
        # A bar would end the cell of the table.
        f"failed: {state.error}".replace("|", "\\|") if state.kind == "failed" else state.kind,
    ]


def _with(overrides: Sequence[str]) -> str:
    return f" with `{' '.join(overrides)}`" if overrides else ""


def _value(state: State, place: tuple[str, str]) -> float | None:
    return (state.results or {}).get(place[0], {}).get(place[1])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    deviation = f"{statistics.stdev(values):.1f}" if len(values) > 1 else "-"
    return f"{statistics.mean(values):.1f} ± {deviation}"


def _difference(values: Sequence[float], baseline: Sequence[float]) -> str:
    if not values or not baseline:
        return "-"
    return f"{statistics.mean(values) - statistics.mean(baseline):+.1f}"


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
