"""The commands and their arguments: what `roilab --help` and shell completion know.

It imports nothing that takes time, so that completion and mistakes on the command line are quick.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from roilab.cli.parser import Argument, Parser, output_file
from roilab.cli.shared_arguments import (
    ATTRIBUTES,
    CONFIG_FILE,
    CONVERT_KINDS,
    EXPORT_FORMATS,
    FILES,
    IMAGES,
    LABELS,
    MAX_MEMORY,
    PREDICT_KINDS,
    PUBLISHED_TABLES,
    RUN,
    TRUST,
    TTA,
    arg,
    folder,
    kinds_of_output,
    overrides,
    positive,
    share,
)

Command = tuple[str, *tuple[Argument, ...]]  # what it does, and its arguments

DATA_COMMANDS: dict[str, Command] = {
    "check": (
        "list the problems of files and of their images",
        FILES,
        IMAGES,
        arg("--json OUT", "also write the problems as JSON"),
        *LABELS,
    ),
    "stats": (
        "count images, classes, sizes and keypoints; print, or write a page",
        FILES,
        IMAGES,
        arg("--html OUT", "write a page with plots"),
        arg("--json OUT", "write the numbers as JSON"),
        arg(
            "--repeat-threshold SHARE",
            "show how often a training draws images of classes that are in a smaller share of the "
            "images: with dataloader.train.repeat_threshold=SHARE",
            type=share,
            default=0.1,
        ),
        *LABELS,
    ),
    "draw": (
        "draw contact sheets of the ground truth",
        FILES,
        IMAGES,
        arg("--output DIR", "the folder of the sheets", default=Path("outputs/pictures")),
        arg("--limit N", "images of each file", type=positive, default=48),
        arg("--per-sheet N", "images on a sheet", type=positive, default=12),
        *LABELS,
    ),
    "augmented": (
        "draw the batches of a training as the model gets them",
        CONFIG_FILE,
        arg("--output DIR", "the folder of the sheets", default=Path("outputs/augmented")),
        arg(
            "--batches N", "batches, from the first on, a sheet for each", type=positive, default=4
        ),
        TRUST,
        overrides("overrides of the config, as for roilab train"),
    ),
    "convert": (
        "write a file as another kind: VIA project, JSON, CSV, or COCO",
        arg("source FILE", "the file to read"),
        arg("target OUT", "the file to write"),
        arg("--to", "its kind", required=True, choices=CONVERT_KINDS),
        IMAGES,
        *LABELS,
    ),
    "split": (
        "divide a file into train and val",
        arg("file FILE", "the annotation file"),
        arg(
            "--train SHARE",
            "the share of the images that goes to train",
            default=0.8,
            one_of="parts",
        ),
        arg(
            "--folds N",
            "divide for a cross-validation with N folds: each is val once, the others train",
            one_of="parts",
        ),
        arg("--seed N", "of the division", default=0),
        arg("--output DIR", "the folder to write into (default: that of the file)"),
        IMAGES,
        *LABELS,
    ),
    "merge": (
        "join files into one project",
        FILES,
        arg("--output OUT", "the project to write", required=True),
        *ATTRIBUTES,
    ),
    "skeleton": (
        "propose a skeleton from the points of files",
        arg(
            "--from FILE ...",
            "annotation files; with --sigmas one of each person who annotated",
            dest="files",
            required=True,
        ),
        arg("--sigmas", "estimate the sigmas of OKS"),
        arg(
            "--class C ...",
            "the classes that have these keypoints (default: those whose objects have points)",
            dest="classes",
            default=[],
        ),
        arg("--output S.json", "default: print the skeleton", type=output_file),
        *LABELS,
    ),
}
_SHOWN = (
    arg("config CONFIG", "a config file, a run folder, or the name of a config"),
    arg("--key KEY", "show the part below this key, such as model.roi_heads"),
    TRUST,
    arg("rest key=value", "the second config, and overrides", nargs="*"),
)
CONFIG_COMMANDS: dict[str, Command] = {
    "show": ("show a config as it is used", *_SHOWN),
    "diff": ("compare two configs", *_SHOWN),
    "suggest": (
        "write a config that fits your data and this machine",
        arg("--train FILE ...", "annotation files to train on", required=True),
        arg(
            "--images DIR ...",
            "folders of their images, one for each file, or for all (default: that of each file)",
            default=[],
        ),
        arg("--val FILE ...", "annotation files to evaluate on", default=[]),
        arg(
            "--val-images DIR ...",
            "folders of their images (default: that of each file, if all have images beside them, "
            "else --images)",
            default=[],
        ),
        arg("--base CONFIG", "build on this config (default: one whose heads the data can train)"),
        arg("--output OUT", "the config to write, a .py file", required=True),
        *LABELS,
        overrides("overrides of the config, which are written into it as they are"),
    ),
}
# In the order in which they are used. Each is a module of `roilab.cli`.
COMMANDS: dict[str, Command] = {
    "figures": (
        "draw the sample set, or a video of it",
        arg("--out DIR", "the folder to write", one_of="target", required=True),
        arg("--video FILE", "the .mp4 file to write", one_of="target", required=True),
        arg("--train N", "training images", default=800),
        arg("--val N", "validation images", default=64),
        arg("--size N", "pixels a side", default=256),
        arg("--seed N", "the same seed gives the same bytes", default=0),
        arg(
            "--car-share SHARE",
            "the share of cars among the objects, such as 0.05 for a rare class (default: about a "
            "third)",
        ),
        arg("--frames N", "frames of the video", type=positive, default=36),
    ),
    "data": (
        "check, draw, count, convert, split and merge annotations before a training",
        arg("command COMMAND", "one of the above", choices=DATA_COMMANDS),
    ),
    "train": (
        "train a model from a lazy config and evaluate it",
        CONFIG_FILE,
        arg(
            "--num-gpus N",
            "processes on this machine, one for each GPU (or on the CPU)",
            default=1,
        ),
        arg("--num-machines N", "machines that train together", default=1),
        arg("--machine-rank N", "the number of this machine, from 0", default=0),
        arg("--dist-url URL", "where the machines meet: tcp://HOST:PORT", default="auto"),
        arg("--resume", "continue the training in train.output_dir"),
        arg(
            "--allow-changed-data",
            "resume although annotations or images have changed since the run began",
        ),
        arg(
            "--eval-only", "evaluate train.init_checkpoint on the validation set, and do not train"
        ),
        arg(
            "--replay FILE",
            "repeat the step after a saved state of train.output_dir, and print its losses",
            type=str,
        ),
        TRUST,
        overrides("overrides of the config"),
    ),
    "evaluate": (
        "evaluate a run folder: AP, and what explains it",
        *RUN,
        arg("--data FILE ...", "annotation files to evaluate on, in place of data.val.files"),
        arg(
            "--images DIR ...",
            "folders of their images, in place of data.val.images: one, or one for each file",
        ),
        arg(
            "--score SCORE",
            "the lowest score of a detection that is drawn and counts for precision, recall and "
            "confusion; AP counts all detections",
            default=0.5,
        ),
        arg(
            "--published",
            "put the results beside a table of the Mask R-CNN paper: table4 has keypoints of "
            "persons, table7 masks of Cityscapes (default: the table of the data, if they are "
            "COCO's persons or Cityscapes)",
            choices=PUBLISHED_TABLES,
        ),
        arg("--fast", "evaluate the fast mode of `roilab predict` and the app, and compare its AP"),
        *TTA,
        arg("--output FILE", "write the result as JSON"),
        arg("--detections FILE", "write the detections as COCO result rows", type=output_file),
        arg("--html FILE", "write a page that explains the AP", type=output_file),
        arg("--pictures DIR", "draw each image twice, annotated beside predicted"),
        arg("--blank", "leave the photographs out of the pictures, so that these can be published"),
        MAX_MEMORY,
        TRUST,
        overrides("overrides of the run's config"),
    ),
    "predict": (
        "find instances in images or a video, and draw them",
        *RUN,
        arg(
            "--compare RUN",
            "another run, which is drawn beside the first; files of data do not have it",
        ),
        arg(
            "--input INPUT ...",
            "images, folders, or patterns in quotes; or one video; or webcam:0",
            required=True,
        ),
        arg("--output DIR", "the folder to write", required=True, type=folder),
        arg("--threshold SCORE", "the lowest score of an instance", default=0.5),
        arg(
            "--save KINDS",
            f"any of {','.join(PREDICT_KINDS)} (default: picture,json; of a video video,json)",
            type=kinds_of_output,
        ),
        arg("--batch N", "images in a forward pass", type=positive, default=1),
        arg("--smooth", "steady the keypoints of a video"),
        arg("--limit N", "stop after the first N images or frames", type=positive),
        arg("--exact", "give the numbers of the evaluation to the last bit, which is slower"),
        *TTA,
        MAX_MEMORY,
        TRUST,
        overrides("overrides of the config, of both runs"),
    ),
    "app": (
        "open a page in the browser that shows what a run finds",
        arg(
            "--runs DIR",
            "the folder in which runs are searched, at any depth",
            default=Path("outputs"),
        ),
        MAX_MEMORY,
        TRUST,
    ),
    "sweep": (
        "train the arms of an ablation with several seeds, and compare them",
        arg(
            "file CONFIG",
            "a sweep, such as ablations/figures_pooler_mask, or the config of a training",
        ),
        overrides("overrides of all arms; key=a,b makes an arm of each value"),
        arg("--output DIR", "the folder of the sweep", required=True),
        arg("--seeds SEEDS", "such as 0,1,2 (default: those of the file)"),
        arg("--only PATTERN", "train the arms with such a name alone", default="*"),
        arg("--dry-run", "list what would be trained, and train nothing"),
        TRUST,
        arg(
            "--jobs N",
            "trainings at the same time (default: one on each GPU, or one)",
            type=positive,
            one_of="place",
        ),
        arg(
            "--slurm KEY=VALUE ...",
            "submit each training to SLURM, such as timeout_min=600 slurm_partition=gpu "
            "gpus_per_node=1, see docs/ablations.md; cluster=local tries it on this machine",
            one_of="place",
        ),
    ),
    "export": (
        "export a trained model to a file that runs without RoILab",
        *RUN,
        arg("--output FILE", "the file to write", required=True),
        arg("--format", "the format of the file", choices=EXPORT_FORMATS, default="onnx"),
        arg(
            "--check IMAGES",
            "an image with objects, or a folder of such, to compare the file with the model "
            "(default: the run's validation images)",
            type=Path,
        ),
        arg(
            "--expected FILE",
            "also write these images and what the model finds in them as .npz, to repeat the "
            "check where the model will run",
        ),
        TRUST,
        overrides("overrides of the run's config"),
    ),
    "config": (
        "show a config as it is used, compare two, or suggest one for your data",
        arg("command", "show one, or compare two", choices=("show", "diff")),
        *_SHOWN,
    ),
    "doctor": (
        "check the installation, or verify a run folder",
        arg("--run RUN", "verify this run folder", type=Path),
        arg(
            "--accept FILE",
            "accept these files of the run as they are now; without names, all",
            nargs="*",
            type=str,
        ),
    ),
}
_PARTS: dict[str, Command] = {
    "config suggest": CONFIG_COMMANDS["suggest"],
    **{f"data {name}": part for name, part in DATA_COMMANDS.items()},
    "sweep report": ("", arg("folder DIR", "the folder of the sweep"), TRUST),
}


def parser_of(name: str, description: str | None) -> Parser:
    """The parser of a command, such as `train`, `data check` or `sweep report`."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=f"roilab {name}", description=description, formatter_class=as_written)
    parser.add_all((COMMANDS | _PARTS)[name][1:])
    return parser


def listing(commands: Mapping[str, Command]) -> str:
    """A line for each command."""
    return "\n".join(f"  {name:<10}{text}" for name, (text, *_) in commands.items())
