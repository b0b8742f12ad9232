"""Run the steps of `make demo` once .venv exists: sample set, training, AP table, pictures.

Each step is a `roilab` command, printed before it runs. A sample set that exists and a finished
training are used again, and an interrupted training is continued.
"""

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = "datasets/figures"
RUN = "outputs/demo"
CONFIG = "configs/figures_mask_keypoint.py"


def main() -> int:
    """Run the steps that are not done yet; return the exit status of the first that fails."""
    # The checkpoint says how far a training is, and not results.json, which the evaluation of an
    # unfinished model also writes.
    tag = ROOT / RUN / "last_checkpoint"
    last = tag.read_text(encoding="utf-8", errors="replace").strip() if tag.is_file() else None
    resume = [] if last is None else ["--resume"]
    try:
        roilab("figures", "--out", DATA)
        if last == "model_final.pth":
            print(f"\n{RUN} is trained and is used again; to start over: rm -r {RUN}", flush=True)
        else:
            roilab("train", "--config-file", CONFIG, *resume, f"train.output_dir={RUN}")
        roilab("evaluate", "--run", RUN)
        roilab("predict", "--run", RUN, "--input", f"{DATA}/val", "--output", f"{RUN}/pictures")
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print("\ninterrupted: `make demo` continues from here", file=sys.stderr)
        return 130
    print(f"\nPictures of the validation images: {RUN}/pictures")
    print("Two commands to try next, on images and on a VIA file of your own:")
    print(f"  .venv/bin/roilab predict --run {RUN} --input IMAGES --output outputs/pictures")
    print("  .venv/bin/roilab data check VIA.json --images IMAGES")
    return 0


def roilab(*arguments: str) -> None:
    """Print and run a command from the root of the checkout.

    Raises:
        subprocess.CalledProcessError: it failed, and has printed why.
    """
    print(f"\n$ {shlex.join(['roilab', *arguments])}", flush=True)
    subprocess.run([sys.executable, "-m", "roilab", *arguments], check=True, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
