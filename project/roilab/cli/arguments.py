"""The commands and their arguments: what `roilab --help` and shell completion know.

It imports nothing that takes time, so that completion and mistakes on the command line are quick.
The names of formats and kinds of files repeat those of the package, which a test compares.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from roilab.cli.parser import Parser, output_file

Add = Callable[[Parser], None]  # adds the arguments of a command
CONVERT_KINDS = ("via", "via-json", "via-csv", "coco")
EXPORT_FORMATS = ("onnx", "torchscript", "exported-program")
PREDICT_KINDS = ("picture", "json", "via", "via-json", "via-csv", "coco", "csv", "video")


def add_figures(parser: Parser) -> None:
    add = parser.add
    target = parser.add_mutually_exclusive_group(required=True)
    add("--out DIR", "the folder to write", target)
    add("--video FILE", "the .mp4 file to write", target)
    add("--train N", "training images", default=800)
    add("--val N", "validation images", default=64)
    add("--size N", "pixels a side", default=256)
    add("--seed N", "the same seed gives the same bytes", default=0)
    add("--frames N", "frames of the video", default=36)


def add_train(parser: Parser) -> None:
    add = parser.add
    add(
        "--config-file CONFIG",
        "a config of RoILab by name, such as mask_rcnn_R_50_FPN_1x, or a file of yours",
        required=True,
    )
    add("--num-gpus N", "processes on this machine, one for each GPU (or on the CPU)", default=1)
    add("--num-machines N", "machines that train together", default=1)
    add("--machine-rank N", "the number of this machine, from 0", default=0)
    add("--dist-url URL", "where the machines meet: tcp://HOST:PORT", default="auto")
    add("--resume", "continue the training in train.output_dir")
    add(
        "--allow-changed-data",
        "resume although annotations or images have changed since the run began",
    )
    add("--eval-only", "evaluate train.init_checkpoint on the validation set, and do not train")
    add(
        "--replay FILE",
        "repeat the step after a saved state of train.output_dir, and print its losses",
        type=str,
    )
    _trust(parser)
    _overrides(parser, "overrides of the config")


def add_evaluate(parser: Parser) -> None:
    add = parser.add
    _run(parser)
    add("--data FILE ...", "annotation files to evaluate on, in place of data.val.files")
    add(
        "--images DIR ...",
        "folders of their images, in place of data.val.images: one, or one for each file",
    )
    add(
        "--score SCORE",
        "the lowest score of a detection that is drawn and counts for precision, recall and "
        "confusion; AP counts all detections",
        default=0.5,
    )
    add("--fast", "evaluate the fast mode of `roilab predict` and the app, and compare its AP")
    add("--output FILE", "write the result as JSON")
    add("--detections FILE", "write the detections as COCO result rows", type=output_file)
    add("--html FILE", "write a page that explains the AP", type=output_file)
    add("--pictures DIR", "draw each image twice, annotated beside predicted")
    add("--blank", "leave the photographs out of the pictures, so that these can be published")
    _max_memory(parser)
    _trust(parser)
    _overrides(parser, "overrides of the run's config")


def add_predict(parser: Parser) -> None:
    add = parser.add
    _run(parser)
    add(
        "--compare RUN",
        "another run, which is drawn beside the first; files of data do not have it",
    )
    add(
        "--input INPUT ...",
        "images, folders, or patterns in quotes; or one video; or webcam:0",
        required=True,
    )
    add("--output DIR", "the folder to write", required=True, type=_folder)
    add("--threshold SCORE", "the lowest score of an instance", default=0.5)
    add(
        "--save KINDS",
        f"any of {','.join(PREDICT_KINDS)} (default: picture,json; of a video video,json)",
        type=_kinds,
    )
    add("--batch N", "images in a forward pass", default=1)
    add("--smooth", "steady the keypoints of a video")
    add("--limit N", "stop after the first N images or frames")
    add("--exact", "give the numbers of the evaluation to the last bit, which is slower")
    _max_memory(parser)
    _trust(parser)
    _overrides(parser, "overrides of the config, of both runs")


def add_app(parser: Parser) -> None:
    parser.add(
        "--runs DIR", "the folder in which runs are searched, at any depth", default=Path("outputs")
    )
    _max_memory(parser)
    _trust(parser)


def add_sweep(parser: Parser) -> None:
    add = parser.add
    add(
        "file CONFIG", "a sweep, such as ablations/figures_pooler_mask, or the config of a training"
    )
    _overrides(parser, "overrides of all arms; key=a,b makes an arm of each value")
    add("--output DIR", "the folder of the sweep", required=True)
    add("--seeds SEEDS", "such as 0,1,2 (default: those of the file)")
    add("--only PATTERN", "train the arms with such a name alone", default="*")
    add("--dry-run", "list what would be trained, and train nothing")
    _trust(parser)
    place = parser.add_mutually_exclusive_group()
    add("--jobs N", "trainings at the same time (default: one on each GPU, or one)", place)
    add(
        "--slurm KEY=VALUE ...",
        "submit each training to SLURM, such as timeout_min=600 slurm_partition=gpu "
        "gpus_per_node=1, see docs/ablations.md; cluster=local tries it on this machine",
        place,
    )


def add_sweep_report(parser: Parser) -> None:
    parser.add("folder DIR", "the folder of the sweep")
    _trust(parser)


def add_export(parser: Parser) -> None:
    add = parser.add
    _run(parser)
    add("--output FILE", "the file to write", required=True)
    add("--format", "the format of the file", choices=EXPORT_FORMATS, default="onnx")
    add(
        "--check IMAGES",
        "an image with objects, or a folder of such, to compare the file with the model "
        "(default: the run's validation images)",
        type=Path,
    )
    add(
        "--expected FILE",
        "also write these images and what the model finds in them as .npz, to repeat the "
        "check where the model will run",
    )
    _trust(parser)
    _overrides(parser, "overrides of the run's config")


def add_config(parser: Parser) -> None:
    add = parser.add
    parser.usage = (
        "%(prog)s show CONFIG [--key KEY] [key=value ...]\n"
        "       %(prog)s diff CONFIG [CONFIG] [key=value ...]"
    )
    add("command", "show one, or compare two", choices=("show", "diff"))
    add("config CONFIG", "a config file, a run folder, or the name of a config")
    add("--key KEY", "show the part below this key, such as model.roi_heads")
    _trust(parser)
    add("rest key=value", "the second config, and overrides", nargs="*")


def add_doctor(parser: Parser) -> None:
    add = parser.add
    add("--run RUN", "verify this run folder", type=Path)
    add(
        "--accept FILE",
        "accept these files of the run as they are now; without names, all",
        nargs="*",
        type=str,
    )


def add_data(parser: Parser) -> None:
    parser.add("command COMMAND", "one of the above", choices=DATA_COMMANDS)


def add_data_check(parser: Parser) -> None:
    _annotation_files(parser)
    _images(parser)
    parser.add("--json OUT", "also write the problems as JSON")
    _labels(parser)


def add_data_stats(parser: Parser) -> None:
    add = parser.add
    _annotation_files(parser)
    _images(parser)
    add("--html OUT", "write a page with plots")
    add("--json OUT", "write the numbers as JSON")
    _labels(parser)


def add_data_draw(parser: Parser) -> None:
    add = parser.add
    _annotation_files(parser)
    _images(parser)
    add("--output DIR", "the folder of the sheets", default=Path("outputs/pictures"))
    add("--limit N", "images of each file", type=_positive, default=48)
    add("--per-sheet N", "images on a sheet", type=_positive, default=12)
    _labels(parser)


def add_data_convert(parser: Parser) -> None:
    add = parser.add
    add("source FILE", "the file to read")
    add("target OUT", "the file to write")
    add("--to", "its kind", required=True, choices=CONVERT_KINDS)
    _images(parser)
    _labels(parser)


def add_data_split(parser: Parser) -> None:
    add = parser.add
    add("file FILE", "the annotation file")
    add("--train SHARE", "the share of the images that goes to train", default=0.8)
    add("--seed N", "of the division", default=0)
    add("--output DIR", "the folder of train.json and val.json (default: that of the file)")
    _images(parser)
    _labels(parser)


def add_data_merge(parser: Parser) -> None:
    _annotation_files(parser)
    parser.add("--output OUT", "the project to write", required=True)
    _labels(parser, dropping=False)


def add_data_skeleton(parser: Parser) -> None:
    add = parser.add
    add(
        "--from FILE ...",
        "annotation files; with --sigmas one of each person who annotated",
        dest="files",
        required=True,
    )
    add("--sigmas", "estimate the sigmas of OKS")
    add(
        "--class C ...",
        "the classes that have these keypoints (default: those whose objects have points)",
        dest="classes",
        default=[],
    )
    add("--output S.json", "default: print the skeleton", type=output_file)
    _labels(parser)


def _run(parser: Parser) -> None:
    add = parser.add
    add("--run RUN", "a run folder, written by roilab train", required=True)
    add(
        "--weights FILE",
        "a checkpoint of that folder (default: model_final.pth, else the newest)",
        type=str,
    )


def _overrides(parser: Parser, text: str) -> None:
    parser.add("overrides key=value", text, nargs="*")


def _trust(parser: Parser) -> None:
    parser.add(
        "--trust NAME",
        "from now on, allow run folders to name this code of yours: package.module.name, all "
        "of package.module, or a .py file that registers data",
        action="append",
        default=[],
    )


def _max_memory(parser: Parser) -> None:
    parser.add(
        "--max-memory GB",
        "refuse images that may take more memory (default: more than is available)",
        type=_bytes,
    )


def _annotation_files(parser: Parser) -> None:
    parser.add("files FILE ...", "annotation files")


def _images(parser: Parser) -> None:
    parser.add(
        "--images DIR ...", "folders of the images (default: the folder of each file)", default=[]
    )


def _labels(parser: Parser, *, dropping: bool = True) -> None:
    """Add the options of `roilab.via.LabelRules`: how attributes become classes and keypoints.

    Args:
        dropping: also those that rename classes, or leave out regions.
    """
    parser.set_defaults(class_map=[], default_class=None, unlabelled="error")
    group = parser.add_argument_group(
        "which attribute is which (needed where several could be meant)"
    )
    add = partial(parser.add, group=group)
    add(
        "--class-attribute A",
        'the attribute that holds the class; "": none does; repeated: each is a class',
        action="append",
    )
    add("--skeleton S", "coco_person (the default where it fits), or a file")
    add("--keypoint-attribute A", "the attribute that names a point")
    add("--instance-attribute A", 'the attribute that ties points to an object; "": none does')
    add(
        "--visibility-attribute A",
        'the attribute that says whether a point is occluded; "": none does',
    )
    add(
        "--keypoint-vertices",
        "regions of this shape hold a skeleton, with a vertex for each keypoint",
        choices=("polygon", "polyline"),
    )
    if dropping:
        add(
            "--class-map OLD=NEW",
            "rename or merge a class; OLD= drops it; may be repeated",
            action="append",
            default=[],
        )
        add("--default-class C", "the class of regions that state no class")
        add(
            "--unlabelled",
            "what to do with regions without a class where there is no default",
            choices=("error", "skip"),
            default="error",
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


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


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
DATA_COMMANDS: dict[str, tuple[Add, str]] = {
    "check": (add_data_check, "list the problems of files and of their images"),
    "stats": (add_data_stats, "count images, classes, sizes and keypoints; print, or write a page"),
    "draw": (add_data_draw, "draw contact sheets of the ground truth"),
    "convert": (add_data_convert, "write a file as another kind: VIA project, JSON, CSV, or COCO"),
    "split": (add_data_split, "divide a file into train and val"),
    "merge": (add_data_merge, "join files into one project"),
    "skeleton": (add_data_skeleton, "propose a skeleton from the points of files"),
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
