"""Find instances in an image or a folder of images, and draw them.

    python scripts/demo.py --run outputs/demo --input datasets/figures/val --output outputs/pictures

The output folder gets what --save names, by default a picture of each image, overview.jpg with the
first of them, and predictions.json. `via` is a VIA 2 project, with the least certain images first:
correct it in VIA and train with it. The exit status is 1 where images could not be read.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from _main import run

from PIL import Image
from tqdm import tqdm

from roilab import via
from roilab.draw import Picture
from roilab.engine.run import open_run
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.inference import (
    Predictor,
    coco_json,
    draw_prediction,
    image_files,
    overview,
    picture_names,
    read_rgb,
    to_json,
    via_annotations,
    via_record,
)
from roilab.inference.export import attribute_names
from roilab.inference.sinks import OVERVIEW

OVERVIEW_PICTURES = 12
VIA_FILES = {"via": "via_project.json", "via-json": "via.json", "via-csv": "via.csv"}
FORMATS = ("picture", "json", *VIA_FILES, "coco")
SHOWN = 5  # how many unreadable images are named


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="a folder written by scripts/train.py")
    parser.add_argument(
        "--weights", metavar="FILE", help="of that folder (default: model_final.pth, or the newest)"
    )
    parser.add_argument("--input", required=True, type=Path, help="an image, or a folder of images")
    parser.add_argument("--output", required=True, type=Path, help="folder for the pictures")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="the least score of an instance (default: 0.5)"
    )
    parser.add_argument(
        "--save",
        type=_formats,
        default=("picture", "json"),
        metavar="KINDS",
        help=f"any of {','.join(FORMATS)} (default: picture,json)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of its config")
    return parser.parse_args(arguments)


def _formats(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    unknown = [kind for kind in kinds if kind not in FORMATS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FORMATS)}")
    return kinds


def main() -> int:
    args = parse(sys.argv[1:])
    _check(args)
    files = image_files(args.input)[: args.limit]
    run_folder = open_run(args.run, args.weights)
    predictor = Predictor.from_run(run_folder, args.overrides)
    names = attribute_names(run_folder)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot make the folder", key="--output", file=args.output, found=error.strerror
        ) from error
    records: list[dict[str, Any]] = []
    via_records: list[via.ImageRecord] = []
    skeleton = predictor.skeleton
    pictures: list[Picture] = []
    broken: list[UserError] = []
    bar = tqdm(files, unit="image", disable=not sys.stderr.isatty(), leave=False)
    for file, name in zip(bar, picture_names(files), strict=True):
        try:
            image = read_rgb(file)
        except UserError as error:
            broken.append(error)
            continue
        found = predictor(image).above(args.threshold)
        records.append(to_json(file.name, found))
        if VIA_FILES.keys() & set(args.save):
            size = file.stat().st_size
            via_records.append(via_record(file.name, size, found, skeleton, names))
        if "picture" in args.save:
            picture = draw_prediction(image, found, skeleton)
            Image.fromarray(picture).save(args.output / name, quality=92)
            if len(pictures) < OVERVIEW_PICTURES:
                pictures.append(picture)
    if not records:
        raise broken[0]
    if pictures:
        Image.fromarray(overview(pictures)).save(args.output / OVERVIEW, quality=92)
    folder = args.input if args.input.is_dir() else args.input.parent
    annotations = via_annotations(
        via_records, predictor.classes, skeleton, f"{folder.resolve()}{os.sep}", names
    )
    for problem in annotations.problems:
        print(problem, file=sys.stderr)
    written = _write_data(args, records, annotations, predictor)
    _report(args, records, written, broken)
    return 1 if broken else 0


def _write_data(
    args: argparse.Namespace,
    records: list[dict[str, Any]],
    annotations: via.Annotations,
    predictor: Predictor,
) -> list[Path]:
    """Write the files of data that --save names, and say what they cannot hold."""
    skeleton = predictor.skeleton
    written = []
    if "json" in args.save:
        data = {
            "classes": list(predictor.classes),
            "keypoints": list(skeleton.keypoints) if skeleton is not None else [],
            "threshold": args.threshold,
            "images": records,
        }
        written.append(args.output / "predictions.json")
        write_whole(written[-1], json.dumps(data) + "\n")
    if "coco" in args.save:
        written.append(args.output / "coco.json")
        write_whole(written[-1], json.dumps(coco_json(records, predictor.classes, skeleton)) + "\n")
    for kind, name in VIA_FILES.items():
        if kind in args.save:
            written.append(args.output / name)
            for problem in via.WRITERS[kind](written[-1], annotations):
                if problem.severity != "note":
                    print(problem, file=sys.stderr)
    return written


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.threshold <= 1:
        raise UserError(
            "the threshold is a score",
            key="--threshold",
            found=args.threshold,
            expected="a number from 0 to 1",
        )
    if args.limit is not None and args.limit < 1:
        raise UserError("no image is left", key="--limit", found=args.limit, expected="1 or more")
    images = args.input if args.input.is_dir() else args.input.parent
    if args.output.resolve() == images.resolve():
        # The pictures would replace the images, or be taken for images the next time.
        raise UserError(
            "the pictures would lie among the images",
            key="--output",
            found=args.output,
            expected="another folder than that of --input",
        )


def _report(
    args: argparse.Namespace,
    records: list[dict[str, Any]],
    written: list[Path],
    broken: list[UserError],
) -> None:
    count = sum(len(record["instances"]) for record in records)
    print(f"{count} instances with a score of at least {args.threshold} in {len(records)} images")
    for path in written:
        print(f"instances: {path}")
    if "picture" in args.save:
        print(f"pictures:  {args.output}")
        first = min(len(records), OVERVIEW_PICTURES)
        print(f"the first {first} together: {args.output / OVERVIEW}")
    if broken:
        print(f"{len(broken)} images left out:", file=sys.stderr)
        for problem in broken[:SHOWN]:
            print(problem, file=sys.stderr)
        if len(broken) > SHOWN:
            print(f"... and {len(broken) - SHOWN} more", file=sys.stderr)


if __name__ == "__main__":
    run(main)
