"""Run the steps of `make demo` once .venv exists: sample set, training, AP table, pictures.

Every step is one of the project's own commands, printed before it runs. A sample set that is there
and a finished training are used again, an interrupted training is continued.
"""

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("datasets/figures")
RUN = Path("outputs/demo")
CONFIG = "configs/figures_mask_keypoint.py"


def main() -> int:
    """Run the steps that are not done yet; return the exit status of the first that fails."""
    try:
        run("scripts/make_figures.py", "--out", DATA)
        train()
        run("scripts/evaluate.py", "--run", RUN)
        run("scripts/demo.py", "--run", RUN, "--input", DATA / "val", "--output", RUN / "pictures")
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print("\ninterrupted: `make demo` goes on from here", file=sys.stderr)
        return 130
    python = shown(sys.executable)
    print(f"\nPictures of the validation images: {RUN / 'pictures'}")
    print("Two commands to try next, on images and on a VIA file of your own:")
    print(f"  {python} scripts/demo.py --run {RUN} --input IMAGES --output outputs/pictures")
    print(f"  {python} scripts/data.py check VIA.json --images IMAGES")
    return 0


def train() -> None:
    """The model: used again if its training came to the end, else from its last checkpoint if any.

    The checkpoint tells, not results.json, which an evaluation of a half-trained model writes too.
    """
    tag = ROOT / RUN / "last_checkpoint"
    last = tag.read_text(encoding="utf-8", errors="replace").strip() if tag.is_file() else None
    if last == "model_final.pth":
        print(f"\n{RUN} is trained and is used again; to start over: rm -r {RUN}", flush=True)
        return
    resume = [] if last is None else ["--resume"]
    run("scripts/train.py", "--config-file", CONFIG, *resume, f"train.output_dir={RUN}")


def run(*arguments: str | Path) -> None:
    """Show and run one command of the project from the root of the checkout.

    Raises:
        subprocess.CalledProcessError: it failed; it has said why.
    """
    command = [sys.executable, *map(str, arguments)]
    print(f"\n$ {shlex.join([shown(sys.executable), *command[1:]])}", flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def shown(path: str) -> str:
    """The path as one would type it in the checkout."""
    return str(Path(path).relative_to(ROOT)) if Path(path).is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
