"""`roilab doctor`, also where nothing is installed."""

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    command = Path(__file__).resolve().parents[1] / "project/roilab/cli/doctor.py"
    try:
        runpy.run_path(str(command), run_name="__main__")
    except BrokenPipeError:  # `head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
