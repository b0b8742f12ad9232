"""Loader workers end with the process that uses them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roilab.synthetic import FiguresPaths

HOLDS_ITS_BATCHES = """
import sys
from roilab.data.dataset import load_dataset
from roilab.data.loaders import train_loader
from roilab.via import LabelRules

if __name__ == "__main__":
    data = load_dataset(sys.argv[1], rules=LabelRules(class_attribute="class"))
    sys.kept = iter(
        train_loader(
            data, augmentations=[], masks=False, keypoints=False, total_batch_size=2, num_workers=1
        )
    )
    next(sys.kept)
    sys.exit(3)
"""


def test_a_process_that_holds_its_batches_ends(figures: FiguresPaths, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HOLDS_ITS_BATCHES)
    done = subprocess.run(
        [sys.executable, script, str(figures.train)],
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "project")},
        check=False,
    )
    assert done.returncode == 3


@pytest.mark.parametrize("error", ["ConnectionResetError", "EOFError", "ValueError"])
def test_a_worker_says_no_more_of_its_end_than_the_main_process(error: str) -> None:
    """A thread that hands a tensor over is cut when the main process ends."""
    code = f"""
import multiprocessing, sys, threading
from roilab.data.workers import leave_signals

def worker():
    leave_signals()
    try:
        raise {error}("cut")
    except Exception:
        sys.excepthook(*sys.exc_info())

begun = multiprocessing.get_context("fork").Process(target=worker)
begun.start()
begun.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("ValueError: cut" in done.stderr) == (error == "ValueError")
    assert ("Traceback" in done.stderr) == (error == "ValueError")
