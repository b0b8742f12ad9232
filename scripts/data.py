"""Look at annotation data: `check` a VIA file and its images, or `draw` the ground truth.

    python scripts/data.py check FILE --images DIR [--json OUT] [how attributes are read]
    python scripts/data.py draw FILE --images DIR [--output DIR] [--limit N] [the same]

`check` exits with status 1 where something is left out (an error), 0 with warnings only, and 2
where the file itself cannot be used.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from _main import run

import numpy as np
from PIL import Image, ImageOps

from roilab import skeleton as skeletons
from roilab import via
from roilab.data.check import Findings, examine, skeleton_of
from roilab.draw import draw
from roilab.errors import UserError
from roilab.images import ImageFolder
from roilab.skeleton import Skeleton

_SHOWN = 20
_MIN_SIDE = 720  # small images are enlarged by a whole number, to at least about this many pixels


def main() -> int:
    """Parse the command line and run the command."""
    arguments = _parser().parse_args()
    rules = via.LabelRules(
        class_attribute=arguments.class_attribute,
        class_map=_class_map(arguments.class_map),
        default_class=arguments.default_class,
        keypoint_attribute=arguments.keypoint_attribute,
        instance_attribute=arguments.instance_attribute,
        visibility_attribute=arguments.visibility_attribute,
    )
    named = arguments.skeleton
    skeleton = skeletons.load(named) if named else skeleton_of(arguments.file, rules)
    if skeleton is not None and not named:
        print(f"skeleton: {skeleton.name}, whose names the points carry")
    images = arguments.images or arguments.file.parent
    if arguments.command == "check":
        findings = examine(arguments.file, images, rules, skeleton)
        if arguments.json is not None:
            _write_json(arguments.json, findings)
        _print_findings(arguments.file, findings)
        return 1 if findings.errors else 0
    _draw(arguments.file, images, rules, skeleton, arguments.output, arguments.limit)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Check a VIA annotation file and its images, or draw the ground truth."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("file", type=Path, metavar="FILE", help="VIA 1 or 2 JSON, VIA 2 project")
    shared.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the images (default: the file's)"
    )
    shared.add_argument("--class-attribute", metavar="A", help="attribute that holds the class")
    shared.add_argument("--default-class", metavar="C", help="class of regions without one")
    shared.add_argument(
        "--class-map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename or merge a class; OLD= drops it; may be repeated",
    )
    shared.add_argument(
        "--skeleton", metavar="S", help="coco_person (taken where it fits), or a file"
    )
    shared.add_argument("--keypoint-attribute", metavar="A", help="attribute that names a point")
    shared.add_argument("--instance-attribute", metavar="A", help="attribute that ties points")
    shared.add_argument("--visibility-attribute", metavar="A", help="attribute of occlusion")
    check = commands.add_parser("check", parents=[shared], help="count, and list the problems")
    check.add_argument("--json", type=Path, metavar="OUT", help="write the findings there as well")
    pictures = commands.add_parser("draw", parents=[shared], help="draw the ground truth")
    pictures.add_argument("--output", type=Path, default=Path("outputs/pictures"), metavar="DIR")
    pictures.add_argument("--limit", type=_positive, default=20, metavar="N")
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _class_map(pairs: list[str]) -> dict[str, str | None]:
    result: dict[str, str | None] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not old or not equals:
            raise UserError("not a renaming", key="--class-map", found=pair, expected="OLD=NEW")
        result[old] = new or None
    return result


def _write_json(path: Path, findings: Findings) -> None:
    text = json.dumps(findings.to_dict(), indent=2, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError("cannot write the findings", file=path, found=error.strerror) from error


def _print_findings(file: Path, findings: Findings) -> None:
    severities = Counter(problem.severity for problem in findings.problems)
    rows = {
        "file": f"{file} ({findings.container})",
        "images": f"{findings.images}, {findings.empty_images} of them empty",
        "regions": findings.regions,
        "instances": findings.instances,
        "keypoints": findings.keypoints,
        "classes": _counts(findings.classes),
        "shapes": _counts(findings.shapes),
        "problems": f"{severities['error']} errors, {severities['warning']} warnings",
    }
    for name, value in rows.items():
        print(f"{name:<11}{value}")
    for severity in ("error", "warning"):
        listed = [problem for problem in findings.problems if problem.severity == severity]
        for problem in listed[:_SHOWN]:
            place = [
                problem.image,
                None if problem.region is None else f"region {problem.region}",
                problem.attribute and f"attribute {problem.attribute}",
            ]
            print(f"\n{severity}: {', '.join(filter(None, place)) or file.name}")
            print(f"  {problem.message}\n  remedy: {problem.remedy}")
        if len(listed) > _SHOWN:
            print(f"\n... and {len(listed) - _SHOWN} more {severity}s")


def _counts(counts: object) -> str:
    items = list(counts.items()) if isinstance(counts, dict) else []
    more = f", ... ({len(items)} in all)" if len(items) > _SHOWN else ""
    return ", ".join(f"{name} {count}" for name, count in items[:_SHOWN]) + more or "none"


def _draw(
    file: Path,
    images: Path,
    rules: via.LabelRules,
    skeleton: Skeleton | None,
    output: Path,
    limit: int,
) -> None:
    labelled = via.label(via.read(file), rules, skeleton)
    folder = ImageFolder(images)
    written = 0
    for number, image in enumerate(labelled.images):
        if written == limit:
            break
        path = folder.find(image.record.filename, image.record.size)
        try:
            if path is None:
                raise OSError(f"not in {images}")
            with Image.open(path) as opened:
                pixels = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
        except (OSError, ValueError) as error:
            print(f"skipped {image.record.filename}: {error}", file=sys.stderr)
            continue
        picture = _ground_truth(pixels, image, skeleton)
        output.mkdir(parents=True, exist_ok=True)
        # The number keeps images of one name in different folders apart.
        Image.fromarray(picture).save(output / f"{number:04d}_{path.stem}.jpg", quality=92)
        written += 1
    if not written:
        raise UserError(
            "no image to draw", file=file, found=f"no image in {images}", key="--images"
        )
    print(f"{written} of {len(labelled.images)} images drawn: {output}")
    if labelled.problems:
        print(f"{len(labelled.problems)} problems: see {Path(__file__).name} check {file}")


def _ground_truth(
    pixels: np.ndarray, image: via.LabelledImage, skeleton: Skeleton | None
) -> np.ndarray:
    # Here, because it imports Detectron2, which takes seconds that `check` does not need.
    from roilab.data.dicts import box_of, to_continuous

    height, width = pixels.shape[:2]
    keypoints = None
    if skeleton is not None:
        none = ((0.0, 0.0, 0),) * len(skeleton.keypoints)
        keypoints = np.array(
            [to_continuous(each.keypoints or none) for each in image.instances]
        ).reshape(-1, len(skeleton.keypoints), 3)
    return draw(
        pixels,
        boxes=[box_of(each, width, height) for each in image.instances],
        masks=[each.polygons for each in image.instances],
        keypoints=keypoints,
        labels=[each.label for each in image.instances],
        skeleton=skeleton,
        scale=max(1, round(_MIN_SIDE / max(width, height))),
    )


if __name__ == "__main__":
    run(main)
