"""A checkpoint that is written with its digest, or without one."""

import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks import Benchmark, seconds
from benchmarks._runs import write_run
from roilab.engine.checkpoint import save_atomically
from roilab.files import whole

CONFIG = "mask_rcnn_R_50_FPN_1x.py"


def benchmark(folder: Path) -> Benchmark:
    """Weights and momentum of a Mask R-CNN with R50-FPN; the note says what of a training it is."""
    run, model = write_run(folder, CONFIG)
    weights = model.state_dict()
    momentum = {name: torch.randn_like(value.float()) for name, value in weights.items()}
    state: dict[str, Any] = {"model": weights, "optimizer": momentum}
    times: dict[str, list[float]] = {"ours": [], "reference": []}

    def with_digest() -> None:
        state["iteration"] = torch.rand(())  # else the record has the digest already
        save_atomically(state, run.folder / "model_0004999.pth")

    def without() -> None:
        with whole(folder / "model_0004999.pth") as part:
            torch.save(state, part)

    def note() -> str:
        ours, reference = (statistics.median(times[side]) for side in ("ours", "reference"))
        more = ours - reference
        return (
            f"{1000 * more:.0f} ms more a checkpoint: under 1% of a training where "
            f"train.checkpoint_period takes longer than {max(0.0, 100 * more):.0f} s"
        )

    def timed(side: str) -> None:
        times[side].append(seconds(with_digest if side == "ours" else without))

    return Benchmark(
        reference_name="torch.save into a file that is renamed",
        ours=lambda: timed("ours"),
        reference=lambda: timed("reference"),
        note=note,
    )
