"""The command `roilab`, and what its commands share: how they say what is wrong."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import logging

from roilab.cli.console import set_up

set_up()
log = logging.getLogger("roilab.anything")
log.warning("%d keypoints", 3)
log.warning("warning: a.json: %s", "twice")
log.error("error: b.json")
log.info("nobody asks for it")
"""


def test_warnings_are_called_so_before_there_is_a_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": str(ROOT / "project")},
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines() == [
        "warning: 3 keypoints",
        "warning: a.json: twice",
        "error: b.json",
    ]
