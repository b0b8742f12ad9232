"""Running one cell of a sweep as a process of its own."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roilab.engine.config import write_text
from roilab.errors import UserError
from roilab.evaluation.ap import Results
from roilab.sweep.plan import Cell

LOG, DEFINITION = "stdout.txt", "cell.json"


@dataclass(frozen=True)
class State:
    """How far a cell is.

    `open` has to begin, `cut` goes on from a checkpoint, `failed` has just failed with the last
    line that its process said, `done` has results.
    """

    kind: Literal["open", "cut", "failed", "done"]
    results: Results | None = None
    error: str = ""


def definition(cell: Cell) -> dict[str, object]:
    """What makes the cell what it is."""
    return {"config": cell.config, "overrides": list(cell.overrides), "seed": cell.seed}


def state_of(cell: Cell) -> State:
    """The state that a cell's run folder shows.

    Raises:
        UserError: the folder holds a cell of the same name but with another definition.
    """
    written = cell.folder / DEFINITION
    if not written.is_file():
        return State("open")
    found = json.loads(written.read_text(encoding="utf-8"))
    if found != definition(cell):
        raise UserError(
            f"arm '{cell.arm.name}', seed {cell.seed} was run with other settings",
            file=written,
            found=found,
            expected=definition(cell),
            remedy=f"delete {cell.folder}, or choose another --output",
        )
    last = cell.folder / "last_checkpoint"
    results = cell.folder / "results.json"
    tag = last.read_text(encoding="utf-8").strip() if last.is_file() else ""
    if tag == "model_final.pth" and results.is_file():
        return State("done", json.loads(results.read_text(encoding="utf-8")))
    return State("cut" if tag else "open")


def prepare_cell(cell: Cell) -> None:
    """Make the cell's folder and write down what the cell is."""
    write_text(cell.folder / DEFINITION, json.dumps(definition(cell), indent=2) + "\n")


def run_cell(cell: Cell, train: Sequence[str]) -> State:
    """Train a cell, from its last checkpoint if it has one, and return what became of it.

    Args:
        train: the training command: the interpreter and scripts/train.py.
    """
    resume = ["--resume"] if (cell.folder / "last_checkpoint").is_file() else []
    command = [*train, "--config-file", cell.config, *resume, *cell.overrides]
    with (cell.folder / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    state = state_of(cell)
    if status != 0 or state.kind != "done":
        return State("failed", error=_last_line(cell.folder / LOG) or f"exit status {status}")
    return state


def _last_line(log: Path) -> str:
    """What a process said last when it failed: the first line of its error, else the last line."""
    lines = [
        line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line
    ]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]
