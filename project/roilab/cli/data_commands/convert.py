"""Write annotations as another kind of file: a VIA 2 project, VIA 2 JSON or CSV, or COCO json.

What the other kind cannot hold is counted. COCO needs the sizes of the images, which are read from
their headers. In a VIA project, attributes that a JSON or CSV does not declare are declared, and a
class that is text becomes a dropdown; with --images, sizes of files that are not stated are filled
in.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_images,
    add_labels,
    count_of,
    folder_of,
    output_file,
    print_problems,
    progress,
    read_all,
    refuse_to_overwrite,
    rules_of,
    skeleton_of,
    status_of,
    with_class_choice,
    working,
)
from roilab.curation.check import fitting_skeleton
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.image_files import header_size
from roilab.text import counted
from roilab.via.records import image_key

_LABELS = (
    "class_map",
    "default_class",
    "skeleton",
    "keypoint_attribute",
    "instance_attribute",
    "visibility_attribute",
    "keypoint_vertices",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert`."""
    parser.add_argument("source", type=Path, metavar="SRC", help="the file to read")
    parser.add_argument("target", type=output_file, metavar="DST", help="the file to write")
    parser.add_argument("--to", required=True, choices=(*via.WRITERS, "coco"), help="its kind")
    add_images(parser)
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Read, write, and say what is lost."""
    if args.to != "coco":
        _refuse_labels(args)
    refuse_to_overwrite(args.target, [args.source])
    (annotations,) = read_all([args.source])
    write = _write_coco if args.to == "coco" else _write_via
    images, problems = write(args, annotations)
    print_problems(problems)
    say(f"{args.target}: {counted(images, 'image')}, {count_of(problems)}")
    return status_of(problems)


def _refuse_labels(args: argparse.Namespace) -> None:
    """VIA files hold every attribute as it is: there is nothing to choose but the dropdown."""
    given = [key for key in _LABELS if getattr(args, key) not in (None, [])]
    if args.unlabelled != "error":
        given.append("unlabelled")
    if args.class_attribute and args.to != "via":
        given.append("class_attribute")
    if given:
        raise UserError(
            f"the option has no effect with --to {args.to}, which keeps all attributes as they are",
            key=f"--{given[0].replace('_', '-')}",
            found=getattr(args, given[0]),
            expected="this option with --to coco"
            + (" or via" if given[0] == "class_attribute" else ""),
            remedy="leave it out",
        )


def _write_via(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write a VIA file: how many images it has, and the problems."""
    problems = list(annotations.problems)
    if args.to == "via":
        rules = rules_of(args)
        skeleton = fitting_skeleton(annotations, rules)
        annotations, more = with_class_choice(annotations, rules, skeleton)
        problems += more
    if args.images:
        annotations, more = _with_sizes(args, annotations)
        problems += more
    with working(f"writing {args.target}"):
        found = via.WRITERS[args.to](args.target, annotations)
    lost = {each.image for each in found if each.severity == "error" and each.region is None}
    written = sum(image.filename not in lost for image in annotations.images)
    return written, [*problems, *found]


def _with_sizes(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[via.Annotations, list[via.Problem]]:
    """The file with the sizes in bytes that it does not state, by which VIA knows images."""
    folder = folder_of(args, annotations)
    images, missing = [], 0
    for found in progress(annotations.images):
        image = found
        path = folder.find(image.filename, None) if image.size is None else None
        if path is not None:
            size = path.stat().st_size
            image = replace(image, size=size, key=image_key(image.filename, size))
        missing += image.size is None
        images.append(image)
    problems = []
    if missing:
        message = f"the sizes of {counted(missing, 'image')} stay unknown, for want of the file in "
        message += str(folder)
        remedy = "give the folder that holds them, VIA knows images by name and size"
        problems.append(via.Problem("warning", message, remedy, annotations.file))
    return replace(annotations, images=tuple(images)), problems


def _write_coco(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write COCO json: how many images it has, and the problems."""
    # Here, because it imports Detectron2, which takes seconds that the others do not need.
    from roilab.data.coco import lost_links, to_coco

    skeleton = skeleton_of(args, [annotations])
    folder = folder_of(args, annotations)

    def size_of(image: via.ImageRecord) -> tuple[int, int]:
        path = folder.find(image.filename, image.size)
        if path is None:
            message, remedy = folder.why_not(image.filename, image.size)
            raise UserError(message, remedy=remedy)
        return header_size(path)

    data, found = to_coco(annotations, rules_of(args), skeleton, size_of, progress)
    problems = list(found)
    if lost := lost_links(annotations.categories, skeleton):
        message = f"not written: {counted(lost, 'link')} between keypoints, not in the skeleton"
        remedy = "give --skeleton FILE of a skeleton that has them"
        problems.append(via.Problem("note", message, remedy, annotations.file))
    with working(f"writing {args.target}"):
        write_whole(args.target, json.dumps(data) + "\n")
    return len(data["images"]), problems
