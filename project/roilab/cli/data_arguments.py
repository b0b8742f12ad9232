"""The commands of `roilab data` and their arguments."""

import argparse
from pathlib import Path

from roilab.cli.parser import Add, output_file

CONVERT_KINDS = ("via", "via-json", "via-csv", "coco")


def data_check(parser: argparse.ArgumentParser) -> None:
    _annotation_files(parser)
    _images(parser)
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="also write the problems as JSON"
    )
    _labels(parser)


def data_stats(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _annotation_files(parser)
    _images(parser)
    add("--html", type=output_file, metavar="OUT", help="write a page with plots")
    add("--json", type=output_file, metavar="OUT", help="write the numbers as JSON")
    _labels(parser)


def data_draw(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _annotation_files(parser)
    _images(parser)
    add(
        "--output",
        type=Path,
        default=Path("outputs/pictures"),
        metavar="DIR",
        help="the folder of the sheets (default: outputs/pictures)",
    )
    add(
        "--limit", type=_positive, default=48, metavar="N", help="images of each file (default: 48)"
    )
    add(
        "--per-sheet",
        type=_positive,
        default=12,
        metavar="N",
        help="images on a sheet (default: 12)",
    )
    _labels(parser)


def data_convert(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="SRC", help="the file to read")
    add("target", type=output_file, metavar="DST", help="the file to write")
    add("--to", required=True, choices=CONVERT_KINDS, help="its kind")
    _images(parser)
    _labels(parser)


def data_split(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="the annotation file")
    add(
        "--train",
        type=float,
        default=0.8,
        metavar="SHARE",
        help="the share of the images that goes to train (default: 0.8)",
    )
    add("--seed", type=int, default=0, help="of the division (default: 0)")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="the folder of train.json and val.json (default: that of the file)",
    )
    _images(parser)
    _labels(parser)


def data_merge(parser: argparse.ArgumentParser) -> None:
    _annotation_files(parser)
    parser.add_argument(
        "--output", required=True, type=output_file, metavar="OUT", help="the project to write"
    )
    _attribute_roles(parser)


def data_skeleton(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--from",
        dest="files",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="annotation files; with --sigmas one of each person who annotated",
    )
    add("--sigmas", action="store_true", help="estimate the sigmas of OKS")
    add(
        "--class",
        dest="classes",
        nargs="+",
        default=[],
        metavar="C",
        help="the classes that have these keypoints (default: those whose objects have points)",
    )
    add("--output", type=output_file, metavar="S.json", help="default: print the skeleton")
    _labels(parser)


def _annotation_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of the images (default: the folder of each file)",
    )


def _labels(parser: argparse.ArgumentParser) -> None:
    """Add the options of `roilab.via.LabelRules`: how attributes become classes and keypoints."""
    group = _attribute_roles(parser)
    group.add_argument(
        "--class-map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename or merge a class; OLD= drops it; may be repeated",
    )
    group.add_argument(
        "--default-class", metavar="C", help="the class of regions that state no class"
    )
    group.add_argument(
        "--unlabelled",
        choices=("error", "skip"),
        default="error",
        help="what to do with regions without a class where there is no default (default: error)",
    )


def _attribute_roles(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that name attributes: the part of `_labels` that drops nothing."""
    parser.set_defaults(class_map=[], default_class=None, unlabelled="error")
    group = parser.add_argument_group(
        "which attribute is which (needed where several could be meant)"
    )
    group.add_argument(
        "--class-attribute",
        action="append",
        metavar="A",
        help='the attribute that holds the class; "": none does; repeated: each is a class',
    )
    group.add_argument(
        "--skeleton", metavar="S", help="coco_person (the default where it fits), or a file"
    )
    group.add_argument("--keypoint-attribute", metavar="A", help="the attribute that names a point")
    group.add_argument(
        "--instance-attribute",
        metavar="A",
        help='the attribute that ties points to an object; "": none does',
    )
    group.add_argument(
        "--visibility-attribute",
        metavar="A",
        help='the attribute that says whether a point is occluded; "": none does',
    )
    group.add_argument(
        "--keypoint-vertices",
        choices=("polygon", "polyline"),
        help="regions of this shape hold a skeleton, with a vertex for each keypoint",
    )
    return group


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


DATA_COMMANDS: dict[str, tuple[Add, str]] = {
    "check": (data_check, "list the problems of files and of their images"),
    "stats": (data_stats, "count images, classes, sizes and keypoints; print, or write a page"),
    "draw": (data_draw, "draw contact sheets of the ground truth"),
    "convert": (data_convert, "write a file as another kind: VIA project, JSON, CSV, or COCO"),
    "split": (data_split, "divide a file into train and val"),
    "merge": (data_merge, "join files into one project"),
    "skeleton": (data_skeleton, "propose a skeleton from the points of files"),
}
