"""The commands and their arguments: what `roilab --help` and shell completion know.

It imports nothing that takes time, so that completion and mistakes on the command line are quick.
The names of formats and kinds of files repeat those of the package, which a test compares.
"""

import argparse
import math
from pathlib import Path

from roilab.cli.data_arguments import DATA_COMMANDS
from roilab.cli.parser import Add, Parser, output_file

EXPORT_FORMATS = ("onnx", "torchscript", "exported-program")
PREDICT_KINDS = ("picture", "json", "via", "via-json", "via-csv", "coco", "csv", "video")


def add_figures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="the folder to write")
    target.add_argument("--video", type=Path, metavar="FILE", help="the .mp4 file to write")
    add("--train", type=int, default=800, metavar="N", help="training images")
    add("--val", type=int, default=64, metavar="N", help="validation images")
    add("--size", type=int, default=256, metavar="S", help="pixels a side")
    add("--seed", type=int, default=0, metavar="K", help="the same seed gives the same bytes")
    add("--frames", type=int, default=36, metavar="N", help="frames of the video")


def add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--config-file",
        required=True,
        metavar="CONFIG",
        help="a config of RoILab by name, such as mask_rcnn_R_50_FPN_1x, or a file of yours",
    )
    add(
        "--num-gpus",
        type=int,
        default=1,
        help="processes on this machine, one for each GPU (or on the CPU)",
    )
    add("--num-machines", type=int, default=1, help="machines that train together")
    add("--machine-rank", type=int, default=0, help="the number of this machine, from 0")
    add("--dist-url", default="auto", help="where the machines meet: tcp://HOST:PORT")
    add("--resume", action="store_true", help="continue the training in train.output_dir")
    add(
        "--allow-changed-data",
        action="store_true",
        help="resume although annotations or images have changed since the run began",
    )
    add(
        "--eval-only",
        action="store_true",
        help="evaluate train.init_checkpoint on the validation set, and do not train",
    )
    add(
        "--replay",
        metavar="FILE",
        help="repeat the step after a saved state of train.output_dir, and print its losses",
    )
    _trust(parser)
    _overrides(parser, "overrides of the config")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _run(parser)
    add(
        "--data",
        nargs="+",
        metavar="FILE",
        help="annotation files to evaluate on, in place of data.val.files",
    )
    add(
        "--images",
        nargs="+",
        metavar="DIR",
        help="folders of their images, in place of data.val.images: one, or one for each file",
    )
    add(
        "--score",
        type=float,
        default=0.5,
        help="the lowest score of a detection that is drawn and counts for precision, recall and "
        "confusion (default: 0.5); AP counts all detections",
    )
    add(
        "--fast",
        action="store_true",
        help="evaluate the fast mode of `roilab predict` and the app, and compare its AP",
    )
    add("--output", type=Path, metavar="FILE", help="write the result as JSON")
    add(
        "--detections",
        type=output_file,
        metavar="FILE",
        help="write the detections as COCO result rows",
    )
    add("--html", type=output_file, metavar="FILE", help="write a page that explains the AP")
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="draw each image twice, annotated beside predicted",
    )
    add(
        "--blank",
        action="store_true",
        help="leave the photographs out of the pictures, so that these can be published",
    )
    _max_memory(parser)
    _trust(parser)
    _overrides(parser, "overrides of the run's config")


def add_predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _run(parser)
    add(
        "--compare",
        metavar="RUN",
        help="another run, which is drawn beside the first; files of data do not have it",
    )
    add(
        "--input",
        required=True,
        nargs="+",
        help="images, folders, or patterns in quotes; or one video; or webcam:0",
    )
    add("--output", required=True, type=_folder, help="the folder to write")
    add(
        "--threshold",
        type=float,
        default=0.5,
        help="the lowest score of an instance (default: 0.5)",
    )
    add(
        "--save",
        type=_kinds,
        metavar="KINDS",
        help=f"any of {','.join(PREDICT_KINDS)} (default: picture,json; of a video video,json)",
    )
    add("--batch", type=int, default=1, metavar="N", help="images in a forward pass (default: 1)")
    add("--smooth", action="store_true", help="steady the keypoints of a video")
    add("--limit", type=int, metavar="N", help="stop after the first N images or frames")
    add(
        "--exact",
        action="store_true",
        help="give the numbers of the evaluation to the last bit, which is slower",
    )
    _max_memory(parser)
    _trust(parser)
    _overrides(parser, "overrides of the config, of both runs")


def add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("outputs"),
        metavar="DIR",
        help="the folder in which runs are searched, at any depth (default: outputs)",
    )
    _max_memory(parser)
    _trust(parser)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "file",
        metavar="CONFIG",
        help="a sweep, such as ablations/figures_pooler_mask, or the config of a training",
    )
    _overrides(parser, "overrides of all arms; key=a,b makes an arm of each value")
    add("--output", required=True, type=Path, metavar="DIR", help="the folder of the sweep")
    add("--seeds", help="such as 0,1,2 (default: those of the file)")
    add("--only", default="*", metavar="PATTERN", help="train the arms with such a name alone")
    add("--dry-run", action="store_true", help="list what would be trained, and train nothing")
    _trust(parser)
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="trainings at the same time (default: one on each GPU, or one)",
    )
    place.add_argument(
        "--slurm",
        nargs="+",
        metavar="KEY=VALUE",
        help="submit each training to SLURM, such as timeout_min=600 slurm_partition=gpu "
        "gpus_per_node=1, see docs/ablations.md; cluster=local tries it on this machine",
    )


def add_sweep_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the sweep")
    _trust(parser)


def add_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _run(parser)
    add("--output", required=True, type=Path, metavar="FILE", help="the file to write")
    add("--format", choices=EXPORT_FORMATS, default="onnx", help="default: onnx")
    add(
        "--check",
        type=Path,
        metavar="IMAGES",
        help="an image with objects, or a folder of such, to compare the file with the model "
        "(default: the run's validation images)",
    )
    add(
        "--expected",
        type=Path,
        metavar="FILE",
        help="also write these images and what the model finds in them as .npz, to repeat the "
        "check where the model will run",
    )
    _trust(parser)
    _overrides(parser, "overrides of the run's config")


def add_config(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.usage = (
        "%(prog)s show CONFIG [--key KEY] [key=value ...]\n"
        "       %(prog)s diff CONFIG [CONFIG] [key=value ...]"
    )
    add("command", choices=("show", "diff"), help="show one, or compare two")
    add("config", metavar="CONFIG", help="a config file, a run folder, or the name of a config")
    add("--key", help="show the part below this key, such as model.roi_heads")
    _trust(parser)
    add("rest", nargs="*", metavar="key=value", help="the second config, and overrides")


def add_doctor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", type=Path, metavar="RUN", help="verify this run folder")
    add(
        "--accept",
        nargs="*",
        metavar="FILE",
        help="accept these files of the run as they are now; without names, all",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command", choices=DATA_COMMANDS, metavar="COMMAND", help="one of the above"
    )


def _run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", required=True, metavar="RUN", help="a run folder, written by roilab train")
    add(
        "--weights",
        metavar="FILE",
        help="a checkpoint of that folder (default: model_final.pth, else the newest)",
    )


def _overrides(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=text)


def _trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="NAME",
        help="from now on, allow run folders to name this code of yours: package.module.name, all "
        "of package.module, or a .py file that registers data",
    )


def _max_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-memory",
        type=_bytes,
        metavar="GB",
        help="refuse images that may take more memory (default: more than is available)",
    )


def _folder(text: str) -> Path:
    if not text:  # it would mean the current folder
        raise argparse.ArgumentTypeError("an empty name: was it a variable that is not set?")
    return Path(text)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    unknown = [kind for kind in kinds if kind not in PREDICT_KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PREDICT_KINDS)}")
    return kinds


def _bytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = 0
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of gigabytes")
    return int(min(size, 1e9) * 1e9)  # no machine has 1e9 GB


# In the order in which they are used. Each is a module of `roilab.cli`.
COMMANDS: dict[str, tuple[Add, str]] = {
    "figures": (add_figures, "draw the sample set, or a video of it"),
    "data": (
        add_data,
        "check, draw, count, convert, split and merge annotations before a training",
    ),
    "train": (add_train, "train a model from a lazy config and evaluate it"),
    "evaluate": (add_evaluate, "evaluate a run folder: AP, and what explains it"),
    "predict": (add_predict, "find instances in images or a video, and draw them"),
    "app": (add_app, "open a page in the browser that shows what a run finds"),
    "sweep": (add_sweep, "train the arms of an ablation with several seeds, and compare them"),
    "export": (add_export, "export a trained model to a file that runs without RoILab"),
    "config": (add_config, "show a config as it is used, or compare two configs"),
    "doctor": (add_doctor, "check the installation, or verify a run folder"),
}


def parser_of(command: str, description: str | None) -> Parser:
    """The parser of a command, such as `train`, `data check` or `sweep report`."""
    add = {
        **{name: add for name, (add, _) in COMMANDS.items()},
        **{f"data {name}": add for name, (add, _) in DATA_COMMANDS.items()},
        "sweep report": add_sweep_report,
    }[command]
    parser = Parser(prog=f"roilab {command}", description=description)
    add(parser)
    return parser


def listing(commands: dict[str, tuple[Add, str]]) -> str:
    """A line for each command."""
    return "\n".join(f"  {name:<10}{text}" for name, (_, text) in commands.items())
