"""Arguments that several commands have, and the types of arguments.

It imports nothing that takes time, so that completion and mistakes on the command line are quick.
The names of formats and kinds of files repeat those of the package, which a test compares.
"""

import argparse
import contextlib
import math
from pathlib import Path
from typing import Any

from roilab.cli.parser import Argument

CONVERT_KINDS = ("via", "via-json", "via-csv", "coco")
EXPORT_FORMATS = ("onnx", "torchscript", "exported-program")
PUBLISHED_TABLES = ("table4", "table7")
PREDICT_KINDS = ("picture", "json", "via", "via-json", "via-csv", "coco", "csv", "video")


def folder(text: str) -> Path:
    if not text:  # it would mean the current folder
        raise argparse.ArgumentTypeError("an empty name: was it a variable that is not set?")
    return Path(text)


def kinds_of_output(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in PREDICT_KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(PREDICT_KINDS)}")
    return kinds


def _bytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = 0
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of gigabytes")
    return int(min(size, 1e9) * 1e9)  # no machine has 1e9 GB


def share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")


def positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 0.75,1,1.25") from None


def arg(usage: str, text: str, **options: Any) -> Argument:
    """An argument of a command."""
    return usage, text, options


def views_of(args: argparse.Namespace) -> Any:
    """The views of --tta and its options; None without them.

    Raises:
        UserError: the scales are none.
    """
    from roilab.evaluation import Views  # it imports torch

    if not (args.tta or args.tta_scales or args.tta_no_flip):
        return None
    scales = {"scales": args.tta_scales} if args.tta_scales else {}
    return Views(**scales, flip=not args.tta_no_flip)


def overrides(text: str) -> Argument:
    """The overrides of a config."""
    return arg("overrides key=value", text, nargs="*")


RUN = (
    arg("--run RUN", "a run folder, written by roilab train", required=True),
    arg(
        "--weights FILE",
        "a checkpoint of that folder (default: model_final.pth, else the newest)",
        type=str,
    ),
)
CONFIG_FILE = arg(
    "--config-file CONFIG",
    "a config of RoILab by name, such as mask_rcnn_R_50_FPN_1x, or a file of yours",
    required=True,
)
TRUST = arg(
    "--trust NAME",
    "from now on, allow run folders to name this code of yours: package.module.name, all "
    "of package.module, or a .py file that registers data",
    action="append",
    default=[],
)
MAX_MEMORY = arg(
    "--max-memory GB",
    "refuse images that may take more memory (default: more than is available)",
    type=_bytes,
)
TTA = (
    arg(
        "--tta",
        "test-time augmentation: average over views of each image, scaled and mirrored",
    ),
    arg(
        "--tta-scales SCALES",
        "sizes of the views, as factors of the run's own (default: 0.75,1,1.25); turns on --tta",
        type=_numbers,
    ),
    arg(
        "--tta-no-flip",
        "leave out mirrored views, such as of text, which has no mirror image; turns on --tta",
    ),
)
FILES = arg("files FILE ...", "annotation files")
IMAGES = arg(
    "--images DIR ...", "folders of the images (default: the folder of each file)", default=[]
)
# Of `roilab.via.LabelRules`: how attributes become classes and keypoints.
ATTRIBUTES = (
    "which attribute is which (needed where several could be meant)",
    arg(
        "--class-attribute A",
        'the attribute that holds the class; "": none does; repeated: each is a class',
        action="append",
    ),
    arg("--skeleton S", "coco_person (the default where it fits), or a file"),
    arg("--keypoint-attribute A", "the attribute that names a point"),
    arg("--instance-attribute A", 'the attribute that ties points to an object; "": none does'),
    arg(
        "--visibility-attribute A",
        'the attribute that says whether a point is occluded; "": none does',
    ),
    arg(
        "--keypoint-vertices",
        "regions of this shape hold a skeleton, with a vertex for each keypoint",
        choices=("polygon", "polyline"),
    ),
)
LABELS = (
    *ATTRIBUTES,
    arg(
        "--class-map OLD=NEW",
        "rename or merge a class; OLD= drops it; may be repeated",
        action="append",
        default=[],
    ),
    arg("--default-class C", "the class of regions that state no class"),
    arg(
        "--unlabelled",
        "what to do with regions without a class where there is no default",
        choices=("error", "skip"),
        default="error",
    ),
)
