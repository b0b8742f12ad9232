"""`roilab doctor`, also where nothing is installed."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    command = Path(__file__).resolve().parents[1] / "project/roilab/cli/doctor.py"
    runpy.run_path(str(command), run_name="__main__")
