"""`roilab data convert`, `split`, `merge` and `skeleton`: files written from annotation files."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli.console import option, say
from roilab.cli.data_common import (
    count_of,
    fitting,
    folder_of,
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
from roilab.curation.harmonize_attributes import own_rules
from roilab.curation.infer_skeleton import (
    detect_coco_person,
    estimate_sigmas,
    infer_skeleton,
    with_sigmas,
)
from roilab.curation.merge import merge_annotations
from roilab.curation.split import split_images
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.image_files import header_size
from roilab.skeleton import DEFAULT_SIGMA, Skeleton
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


def convert(args: argparse.Namespace) -> int:
    """Write annotations as another kind of file: a VIA 2 project, VIA 2 JSON or CSV, or COCO json.

    What the other kind cannot hold is counted. COCO needs the sizes of the images, which are read
    from their headers. A VIA project declares the attributes that a JSON or CSV does not declare,
    and a class that is text becomes a dropdown; --images fills in missing sizes of files.
    """
    if args.to != "coco":
        _refuse_labels(args)
    refuse_to_overwrite(args.target, [args.source])
    (annotations,) = read_all([args.source])
    write = _write_coco if args.to == "coco" else _write_via
    images, problems = write(args, annotations)
    print_problems(problems)
    say(f"{args.target}: {counted(images, 'image')}, {count_of(problems)}")
    return status_of(problems)


def split(args: argparse.Namespace) -> int:
    """Divide an annotation file into train and val, two VIA 2 projects.

    The part of an image follows from its content and the seed, not from its name or its place in
    the file. Copies of one picture stay together, and each class is divided by the same share, with
    images in both parts where possible. Images whose files are missing are distinguished by name
    and size. A class that is text becomes a dropdown.
    """
    output = args.output or args.file.parent
    targets = [output / "train.json", output / "val.json"]
    for target in targets:
        refuse_to_overwrite(target, [args.file])
    (annotations,) = read_all([args.file])
    with working("labelling"):
        rules, skeleton = rules_of(args), skeleton_of(args, [annotations])
        (labelled,) = fitting(
            args, [annotations], [via.build_instances(annotations, rules, skeleton)]
        )
    folder = folder_of(args, annotations)
    chosen, copies, missing = split_images(
        labelled,
        lambda record: folder.find(record.filename, record.size),
        args.train,
        args.seed,
        progress,
    )
    problems = list(labelled.problems)
    if missing:
        lost = counted(missing, "image is", "images are")
        message = f"{lost} not in {folder}: copies among them are not recognised"
        problems.append(
            via.Problem("warning", message, "give the folder that holds them", annotations.file)
        )
    problems += _in_one_part(labelled, chosen)
    declared, more = with_class_choice(annotations, rules, skeleton)
    problems += more
    for target, is_train in zip(targets, (True, False), strict=True):
        images = tuple(image for image in declared.images if (image.key in chosen) is is_train)
        with working(f"writing {target}"):
            problems += via.write_project(target, replace(declared, images=images), target.stem)
    print_problems(problems)
    _print_table(labelled, chosen)
    same = counted(copies, "image is a copy of another", "images are copies of others")
    say(f"{same}, in the same part")
    say(*targets, sep="\n")
    return status_of(problems)


def merge(args: argparse.Namespace) -> int:
    """Join annotation files of any kind into one VIA 2 project.

    An image that is in two files with the same regions is kept once; with different regions it is
    an error, and the first is kept. Attributes and their options are united. The attributes of the
    class, of keypoints, and of what ties or hides them get the names that they have in the first
    file, so that corrected predictions can join the training data. A class that is text becomes a
    dropdown.
    """
    refuse_to_overwrite(args.output, args.files)
    sources = read_all(args.files)
    rules = rules_of(args)
    skeleton = _skeleton_of_any(args, sources, rules)
    merged = merge_annotations(sources, str(args.output), rules, skeleton, progress)
    merged, more = with_class_choice(merged, own_rules(merged, rules), skeleton)
    problems = [*merged.problems, *more]
    with working(f"writing {args.output}"):
        problems += via.write_project(args.output, merged, args.output.stem)
    print_problems(problems)
    regions = sum(len(image.regions) for image in merged.images)
    counts = f"{counted(len(merged.images), 'image')}, {counted(regions, 'region')}"
    say(f"{args.output}: {counts}, {count_of(problems)}")
    return status_of(problems)


def skeleton(args: argparse.Namespace) -> int:
    """Propose a skeleton file from the points of annotation files.

    A COCO file declares names and links; for other files the names come in order of their
    frequency, and you fill in the links. Swaps follow from left and right in the names. With
    --sigmas and files in which several people annotated the same images, the sigmas of OKS are
    estimated from the distances between their points.
    """
    if args.output is not None:
        refuse_to_overwrite(args.output, args.files)
    files = read_all(args.files)
    if args.skeleton is not None:
        proposed = skeletons.load_skeleton(args.skeleton)
    else:
        name = args.output.stem if args.output is not None else "skeleton"
        with working("counting points"):
            proposed = infer_skeleton(files, name, args.keypoint_attribute, args.classes)
            if not args.classes:
                proposed = _with_classes(args, files, proposed)
    if args.sigmas:
        with working("comparing points"):
            labelled = [via.build_instances(file, rules_of(args), proposed) for file in files]
            sigmas = estimate_sigmas(labelled, proposed)
        proposed = with_sigmas(proposed, sigmas)
        for keypoint in proposed.keypoints:
            sigma = sigmas.get(keypoint)
            text = "not repeated"
            if sigma:
                text = f"{sigma.value:.4f} from {counted(sigma.objects, 'object')}"
            say(f"sigma of {keypoint}: {text}", file=sys.stderr)
    text = json.dumps(proposed.to_dict(), indent=2) + "\n"
    if args.output is not None:
        write_whole(args.output, text)
        say(f"skeleton: {args.output}")
    else:
        say(text, end="")
    links = "" if proposed.links else ", and fill in links (pairs of names to join by a line)"
    say(
        f"check classes ({', '.join(proposed.classes)}) and swaps{links}"
        + ("" if args.sigmas else f"; a sigma of {DEFAULT_SIGMA} is a guess"),
        file=sys.stderr,
    )
    return 0


def _refuse_labels(args: argparse.Namespace) -> None:
    """Refuse options without effect: VIA files keep every attribute as it is."""
    options = [key for key in _LABELS if getattr(args, key) not in (None, [])]
    if args.unlabelled != "error":
        options.append("unlabelled")
    if args.class_attribute and args.to != "via":
        options.append("class_attribute")
    if options:
        raise UserError(
            f"the option has no effect with --to {args.to}, which keeps all attributes as they are",
            key=f"--{options[0].replace('_', '-')}",
            found=getattr(args, options[0]),
            expected="this option with --to coco"
            + (" or via" if options[0] == "class_attribute" else ""),
            remedy="leave it out",
        )


def _write_via(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write a VIA file; returns the number of its images, and the problems."""
    problems = list(annotations.problems)
    if args.to == "via":
        rules = rules_of(args)
        skeleton = detect_coco_person(annotations, rules)
        annotations, more = with_class_choice(annotations, rules, skeleton)
        problems += more
    if args.images:
        annotations, more = _with_sizes(args, annotations)
        problems += more
    with working(f"writing {args.target}"):
        more = list(via.WRITERS[args.to](args.target, annotations))
    lost = {p.image for p in more if p.severity == "error" and p.region is None}
    written = sum(image.filename not in lost for image in annotations.images)
    return written, [*problems, *more]


def _with_sizes(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[via.Annotations, list[via.Problem]]:
    """The file with all sizes of image files in bytes, by which VIA knows images."""
    folder = folder_of(args, annotations)
    images, missing = [], 0
    for record in progress(annotations.images):
        image = record
        path = folder.find(image.filename, None) if image.size is None else None
        if path is not None:
            size = path.stat().st_size
            image = replace(image, size=size, key=image_key(image.filename, size))
        missing += image.size is None
        images.append(image)
    problems = []
    if missing:
        message = f"the sizes of {counted(missing, 'image')} stay unknown: no file in {folder}"
        remedy = "give the folder that holds them, VIA knows images by name and size"
        problems.append(via.Problem("warning", message, remedy, annotations.file))
    return replace(annotations, images=tuple(images)), problems


def _write_coco(
    args: argparse.Namespace, annotations: via.Annotations
) -> tuple[int, list[via.Problem]]:
    """Write COCO json; returns the number of its images, and the problems."""
    # It imports Detectron2, which takes seconds that the other kinds do not need.
    from roilab.curation.to_coco import annotations_to_coco, lost_links

    skeleton = skeleton_of(args, [annotations])
    folder = folder_of(args, annotations)

    def size_of(image: via.ImageRecord) -> tuple[int, int]:
        path = folder.find(image.filename, image.size)
        if path is None:
            message, remedy = folder.why_not(image.filename, image.size)
            raise UserError(message, remedy=remedy)
        return header_size(path)

    data, lost_parts = annotations_to_coco(annotations, rules_of(args), skeleton, size_of, progress)
    problems = list(lost_parts)
    if lost := lost_links(annotations.categories, skeleton):
        message = f"not written: {counted(lost, 'link')} between keypoints, not in the skeleton"
        remedy = "give --skeleton FILE of a skeleton that has them"
        problems.append(via.Problem("note", message, remedy, annotations.file))
    with working(f"writing {args.target}"):
        write_whole(args.target, json.dumps(data) + "\n")
    return len(data["images"]), problems


def _in_one_part(labelled: via.LabelledSet, chosen: set[str]) -> list[via.Problem]:
    """Warnings of classes that one part lacks: they are not learnt, or not evaluated."""
    images: dict[str, list[bool]] = {name: [] for name in labelled.classes}
    for image in labelled.images:
        for name in {instance.label for instance in image.instances}:
            images[name].append(image.record.key in chosen)
    return [
        via.Problem(
            severity="warning",
            message=f"the class '{name}' is in {'train' if parts[0] else 'val'} only, "
            f"in {counted(len(parts), 'image')}",
            remedy="annotate more images of it, or drop it with "
            f"{option('--class-map', {name: None})}",
            file=labelled.file,
        )
        for name, parts in images.items()
        if len(set(parts)) == 1
    ]


def _print_table(labelled: via.LabelledSet, chosen: set[str]) -> None:
    """Print the images and instances of each part."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for image in labelled.images:
        part = counts[image.record.key in chosen]
        part["images"] += 1
        part.update(instance.label for instance in image.instances)
    rows = ["images", *labelled.classes]
    width = max(map(len, rows)) + 2
    say(f"{'':<{width}}{'train':>8}{'val':>8}{'share':>8}")
    for row in rows:
        train, val = counts[True][row], counts[False][row]
        say(f"{row:<{width}}{train:>8}{val:>8}{train / max(1, train + val):>8.2f}")


def _skeleton_of_any(
    args: argparse.Namespace, sources: Sequence[via.Annotations], rules: via.LabelRules
) -> Skeleton | None:
    """The skeleton of --skeleton, else COCO's where it fits a file by the names of that file."""
    if args.skeleton is not None:
        return skeletons.load_skeleton(args.skeleton)
    declared = map(via.with_declarations, sources)
    skeletons_of_files = (detect_coco_person(file, own_rules(file, rules)) for file in declared)
    return next(filter(None, skeletons_of_files), None)


def _with_classes(
    args: argparse.Namespace, files: Sequence[via.Annotations], proposed: Skeleton
) -> Skeleton:
    """The skeleton with the classes whose objects have labelled keypoints."""
    rules = rules_of(args)
    every = {name for file in files for name in via.build_instances(file, rules, proposed).classes}
    if not every:
        return proposed
    candidate = replace(proposed, classes=tuple(sorted(every)))
    owners = {
        instance.label
        for file in files
        for image in via.build_instances(file, rules, candidate).images
        for instance in image.instances
        if any(v for _, _, v in instance.keypoints or ())
    }
    return replace(candidate, classes=tuple(sorted(owners or every)))
