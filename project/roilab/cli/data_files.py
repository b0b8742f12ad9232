"""`roilab data convert`, `split`, `merge` and `skeleton`: files written from annotation files."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli import data_common
from roilab.cli.arguments import parser_of
from roilab.cli.console import progress, say
from roilab.cli.data_common import working
from roilab.curation import infer_skeleton
from roilab.curation.harmonize_attributes import own_rules, with_class_choice
from roilab.curation.merge import merge_annotations, with_file_sizes
from roilab.curation.split import (
    classes_in_one_part,
    classes_missing_in_folds,
    fold_images,
    split_images,
)
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.image_files import header_size
from roilab.skeleton import DEFAULT_SIGMA, Skeleton
from roilab.text import counted

_PARTS = ("train.json", "val.json")  # of a division
# Options that change nothing in a VIA file, which keeps every attribute as it is.
_LABELS = ("skeleton", *(field.name for field in fields(via.LabelRules)))


def convert(args: argparse.Namespace) -> int:
    """Write annotations as another kind of file: a VIA 2 project, VIA 2 JSON or CSV, or COCO json.

    What the other kind cannot hold is counted. COCO needs the sizes of the images, which are read
    from their headers. A VIA project declares the attributes that a JSON or CSV does not declare,
    and a class that is text becomes a dropdown; --images fills in missing sizes of files.
    """
    if args.to != "coco":
        _refuse_labels(args)
    data_common.refuse_to_overwrite(args.target, [args.source])
    (annotations,) = data_common.read_all([args.source])
    write = _write_coco if args.to == "coco" else _write_via
    images, problems = write(args, annotations)
    data_common.print_problems(problems)
    say(f"{args.target}: {counted(images, 'image')}, {data_common.count_of(problems)}")
    return data_common.status_of(problems)


def split(args: argparse.Namespace) -> int:
    """Divide an annotation file into train and val, two VIA 2 projects.

    The part of an image follows from its content and the seed, not from its name or its place in
    the file. Copies of one picture stay together, and each class is divided by the same share, with
    images in both parts where possible. Images whose files are missing are distinguished by name
    and size. A class that is text becomes a dropdown.

    With --folds N the images are divided into N folds of equal shares for a cross-validation: the
    folders fold_0, fold_1, ... each have the images of their fold as val.json and all others as
    train.json.
    """
    (annotations,) = data_common.read_all([args.file])
    skeleton, (labelled,) = data_common.label(args, [annotations])
    images = data_common.folder_of(args, annotations)

    def find(record: via.ImageRecord) -> Path | None:
        return images.find(record.filename, record.size)

    output = args.output or args.file.parent
    if args.folds is None:
        train, copies, missing = split_images(labelled, find, args.train, args.seed, progress)
        val = {image.key for image in annotations.images} - train
        columns = {"train": train, "val": val}
        held_out = {output: val}
        lacking = classes_in_one_part(labelled, train)
    else:
        folds, copies, missing = fold_images(labelled, find, args.folds, args.seed, progress)
        columns = {f"fold_{number}": fold for number, fold in enumerate(folds)}
        held_out = {output / name: fold for name, fold in columns.items()}
        lacking = classes_missing_in_folds(labelled, folds)
    targets = [folder / name for folder in held_out for name in _PARTS]
    for target in targets:
        data_common.refuse_to_overwrite(target, [args.file])
    problems = list(labelled.problems)
    if missing:
        lost = counted(missing, "image is", "images are")
        message = f"{lost} not in {images}: copies among them are not recognised"
        remedy = "give the folder that holds them"
        problems.append(via.Problem("warning", message, remedy, annotations.file))
    problems += lacking

    declared, more = with_class_choice(annotations, data_common.rules_of(args), skeleton)
    problems += more
    for folder, val in held_out.items():
        problems += _write_parts(declared, folder, val)
    data_common.print_problems(dict.fromkeys(problems))
    _print_table(labelled, columns)
    same = counted(copies, "image is a copy of another", "images are copies of others")
    say(f"{same}, in the same part")
    say(*targets, sep="\n")
    return data_common.status_of(problems)


def _write_parts(
    annotations: via.Annotations, folder: Path, val: Collection[str]
) -> list[via.Problem]:
    """Write the images with the keys `val` as val.json, and the others as train.json."""
    problems: list[via.Problem] = []
    for name in _PARTS:
        is_val = name == "val.json"
        images = tuple(image for image in annotations.images if (image.key in val) is is_val)
        target = folder / name
        with working(f"writing {target}"):
            problems += via.write_project(target, replace(annotations, images=images), target.stem)
    return problems


def merge(args: argparse.Namespace) -> int:
    """Join annotation files of any kind into one VIA 2 project.

    An image that is in two files with the same regions is kept once; with different regions it is
    an error, and the first is kept. Attributes and their options are united. The attributes of the
    class, of keypoints, and of what ties or hides them get the names that they have in the first
    file, so that corrected predictions can join the training data. A class that is text becomes a
    dropdown.
    """
    data_common.refuse_to_overwrite(args.output, args.files)
    sources = data_common.read_all(args.files)
    rules = data_common.rules_of(args)
    skeleton = None
    if args.skeleton is not None:
        skeleton = skeletons.load_skeleton(args.skeleton)
    else:  # COCO's, where it fits a file by the names of that file
        for file in map(via.with_declarations, sources):
            skeleton = skeleton or infer_skeleton.detect_coco_person(file, own_rules(file, rules))
    merged = merge_annotations(sources, str(args.output), rules, skeleton, progress)
    merged, more = with_class_choice(merged, own_rules(merged, rules), skeleton)
    problems = [*merged.problems, *more]
    with working(f"writing {args.output}"):
        problems += via.write_project(args.output, merged, args.output.stem)
    data_common.print_problems(problems)
    regions = sum(len(image.regions) for image in merged.images)
    counts = f"{counted(len(merged.images), 'image')}, {counted(regions, 'region')}"
    say(f"{args.output}: {counts}, {data_common.count_of(problems)}")
    return data_common.status_of(problems)


def skeleton(args: argparse.Namespace) -> int:
    """Propose a skeleton file from the points of annotation files.

    A COCO file declares names and links; for other files the names come in order of their
    frequency, and you fill in the links. Swaps follow from left and right in the names. With
    --sigmas and files in which several people annotated the same images, the sigmas of OKS are
    estimated from the distances between their points.
    """
    if args.output is not None:
        data_common.refuse_to_overwrite(args.output, args.files)
    files = data_common.read_all(args.files)
    if args.skeleton is not None:
        proposed = skeletons.load_skeleton(args.skeleton)
    else:
        proposed = _inferred_skeleton(args, files)
    if args.sigmas:
        proposed = _with_sigmas(args, files, proposed)
    text = json.dumps(proposed.to_dict(), indent=2) + "\n"
    if args.output is not None:
        write_whole(args.output, text)
        say(f"skeleton: {args.output}")
    else:
        say(text, end="")
    links = "" if proposed.links else ", and fill in links (pairs of names to join by a line)"
    guess = "" if args.sigmas else f"; a sigma of {DEFAULT_SIGMA} is a guess"
    classes = ", ".join(proposed.classes)
    say(f"check classes ({classes}) and swaps{links}{guess}", file=sys.stderr)
    return 0


def _inferred_skeleton(args: argparse.Namespace, files: Sequence[via.Annotations]) -> Skeleton:
    """A skeleton of the names that points carry; without --class, of the classes with points."""
    name = args.output.stem if args.output is not None else "skeleton"
    with working("counting points"):
        inferred = infer_skeleton.infer_skeleton(files, name, args.keypoint_attribute, args.classes)
        if args.classes:
            return inferred
        return infer_skeleton.with_classes(inferred, files, data_common.rules_of(args))


def _with_sigmas(
    args: argparse.Namespace, files: Sequence[via.Annotations], proposed: Skeleton
) -> Skeleton:
    """The skeleton with the estimated sigmas, which are printed."""
    with working("comparing points"):
        rules = data_common.rules_of(args)
        labelled = [via.build_instances(file, rules, proposed) for file in files]
        sigmas = infer_skeleton.estimate_sigmas(labelled, proposed)
    for keypoint in proposed.keypoints:
        text = "not repeated"
        if keypoint in sigmas:
            sigma = sigmas[keypoint]
            text = f"{sigma.value:.4f} from {counted(sigma.objects, 'object')}"
        say(f"sigma of {keypoint}: {text}", file=sys.stderr)
    return infer_skeleton.with_sigmas(proposed, sigmas)


def _refuse_labels(args: argparse.Namespace) -> None:
    """Refuse options that change nothing in a VIA file, except the class of a VIA project."""
    default = parser_of("data convert", None).get_default
    for key in _LABELS:
        is_class = key == "class_attribute"
        if getattr(args, key) != default(key) and not (is_class and args.to == "via"):
            raise UserError(
                f"the option has no effect with --to {args.to}, which keeps all attributes as they "
                "are",
                key=data_common.OPTIONS[key],
                found=getattr(args, key),
                expected=f"this option with --to coco{' or via' if is_class else ''}",
                remedy="leave it out",
            )


def _write_via(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write a VIA file; returns the number of its images, and the problems."""
    problems = list(annotations.problems)
    if args.to == "via":
        rules = data_common.rules_of(args)
        skeleton = infer_skeleton.detect_coco_person(annotations, rules)
        annotations, more = with_class_choice(annotations, rules, skeleton)
        problems += more
    if args.images:
        folder = data_common.folder_of(args, annotations)
        annotations, more = with_file_sizes(annotations, folder, progress)
        problems += more
    with working(f"writing {args.target}"):
        more = list(via.WRITERS[args.to](args.target, annotations))
    lost = {p.image for p in more if p.severity == "error" and p.region is None}
    written = sum(image.filename not in lost for image in annotations.images)
    return written, [*problems, *more]


def _write_coco(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write COCO json; returns the number of its images, and the problems."""
    # It imports Detectron2, which takes seconds that the other kinds do not need.
    from roilab.curation.to_coco import annotations_to_coco, lost_links

    skeleton = data_common.skeleton_of(args, [annotations])
    folder = data_common.folder_of(args, annotations)

    def size_of(image: via.ImageRecord) -> tuple[int, int]:
        path = folder.find(image.filename, image.size)
        if path is None:
            message, remedy = folder.why_not(image.filename, image.size)
            raise UserError(message, remedy=remedy)
        return header_size(path)

    rules = data_common.rules_of(args)
    data, lost_parts = annotations_to_coco(annotations, rules, skeleton, size_of, progress)
    problems = list(lost_parts)
    lost = lost_links(annotations.categories, skeleton)
    if lost:
        message = f"not written: {counted(lost, 'link')} between keypoints, not in the skeleton"
        remedy = "give --skeleton FILE of a skeleton that has them"
        problems.append(via.Problem("note", message, remedy, annotations.file))
    with working(f"writing {args.target}"):
        write_whole(args.target, json.dumps(data) + "\n")
    return len(data["images"]), problems


def _print_table(labelled: via.LabelledSet, parts: Mapping[str, Collection[str]]) -> None:
    """Print how many images and instances are in each part, whose images have these keys."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in parts}
    for image in labelled.images:
        for name, keys in parts.items():
            if image.record.key in keys:
                counts[name].update(["images", *(instance.label for instance in image.instances)])
    rows = ["images", *labelled.classes]
    width = max(map(len, rows)) + 2
    has_share = "train" in parts  # which is that of train
    columns = [*parts, "share"] if has_share else [*parts]
    say("".join([" " * width, *(f"{name:>8}" for name in columns)]))
    for row in rows:
        numbers = [of_part[row] for of_part in counts.values()]
        cells = list(map(str, numbers))
        if has_share:
            cells.append(f"{numbers[0] / max(1, sum(numbers)):.2f}")
        say("".join([f"{row:<{width}}", *(f"{cell:>8}" for cell in cells)]))
