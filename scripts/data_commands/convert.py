"""Write annotations as another kind of file: a VIA 2 project, VIA 2 JSON or CSV, or COCO json.

What the other kind cannot hold is counted. COCO needs the sizes of the images, which are read from
their headers. Attributes that a JSON or CSV does not declare are declared in a project.
"""

import argparse
import json
from pathlib import Path

from data_commands.common import (
    add_images,
    add_labels,
    count_of,
    folder_of,
    print_problems,
    refuse_to_overwrite,
    rules_of,
    skeleton_of,
    status_of,
)
from roilab import via
from roilab.data.read import read
from roilab.images import header_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `convert` takes."""
    parser.add_argument("source", type=Path, metavar="SRC", help="the file to read")
    parser.add_argument("target", type=Path, metavar="DST", help="the file to write")
    parser.add_argument("--to", required=True, choices=(*via.WRITERS, "coco"), help="its kind")
    add_images(parser)
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Read, write, and say what is lost."""
    refuse_to_overwrite(args.target, [args.source])
    annotations = read(args.source)
    if args.to == "coco":
        problems = _write_coco(args, annotations)
    else:
        write = via.WRITERS[args.to]
        problems = (*annotations.problems, *write(args.target, via.with_declarations(annotations)))
    print_problems(problems)
    print(f"{args.target}: {len(annotations.images)} images, {count_of(problems)}")
    return status_of(problems)


def _write_coco(args: argparse.Namespace, annotations: via.Annotations) -> tuple[via.Problem, ...]:
    # Here, because it imports Detectron2, which takes seconds that the others do not need.
    from roilab.data.coco import to_coco

    skeleton = skeleton_of(args, [annotations])
    labelled = via.label(annotations, rules_of(args), skeleton)
    folder = folder_of(args, annotations)

    def size_of(image: via.ImageRecord) -> tuple[int, int] | None:
        path = folder.find(image.filename, image.size)
        return None if path is None else header_size(path)

    data, problems = to_coco(labelled, skeleton, size_of)
    via.write_whole(args.target, json.dumps(data) + "\n")
    return (*labelled.problems, *problems)
