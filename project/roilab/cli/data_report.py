"""`roilab data check`, `stats` and `draw`: problems, counts and pictures of annotation files."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from roilab import via
from roilab.cli import data_common
from roilab.cli.console import progress, say
from roilab.curation import contact_sheets
from roilab.curation.check import CheckReport, check_annotations, unusable_file
from roilab.curation.stats import Stats, count_annotations
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.reporting import statistics_page
from roilab.reporting.document import Cell, Table, markdown_table
from roilab.reporting.statistics_page import class_table, repeats_note
from roilab.text import counted, counts_line

_CLASSES = 20  # classes that are listed
_ROWS = 30  # rows of a table that are printed


def check(args: argparse.Namespace) -> int:
    """List the problems of annotation files and of their images, the most severe first.

    An error leaves something out, a warning may be a mistake, and a note counts what is left out on
    request or explains how an attribute is read.
    The exit status is 0 where there is no error and 1 where there is.
    """
    rules = data_common.rules_of(args)
    annotations: dict[Path, via.Annotations] = {}
    reports: dict[Path, CheckReport] = {}
    for path in args.files:
        try:
            annotations[path] = read_annotations(path)
        except UserError as error:
            reports[path] = unusable_file(path, error)
    skeleton = data_common.skeleton_of(args, annotations.values())
    sources = [(file, data_common.folder_of(args, file)) for file in annotations.values()]
    # Files that are checked together are used together: two of them may hold one image.
    located = find_images(sources)
    for (path, file), images in zip(annotations.items(), located, strict=True):
        reports[path] = check_annotations(file, images, rules, skeleton, progress)
    findings = [reports[path] for path in dict.fromkeys(args.files)]
    if args.json is not None:
        shown = [
            replace(report, problems=data_common.in_options(report.problems)) for report in findings
        ]
        data = {"files": [asdict(report) for report in shown]}
        write_whole(args.json, json.dumps(data, indent=2) + "\n")
    problems = [problem for report in findings for problem in report.problems]
    data_common.print_problems(problems)
    for report in findings:
        _print_summary(report)
    return data_common.status_of(problems)


def stats(args: argparse.Namespace) -> int:
    """Count what annotation files hold: images, classes, sizes, keypoints, classes in one image.

    Several files are counted together. The repeat factor of a class says how often a training with
    dataloader.train.repeat_threshold draws an image that has it. Where the image of an object is
    available, the part outside the image is left out, as in training. --html writes the same as a
    page with plots.
    """
    files = data_common.read_all(args.files)
    skeleton, labelled = data_common.label(args, files)
    pairs = list(zip(files, labelled, strict=True))
    counts = count_annotations(pairs, skeleton, progress, args.repeat_threshold)
    _print_stats(counts)
    problems = [problem for file in labelled for problem in file.problems]
    if problems:
        say(f"\n{data_common.count_of(problems)}: see roilab data check")
    if args.json is not None:
        write_whole(args.json, json.dumps(counts.to_dict(), indent=2) + "\n")
    if args.html is not None:
        write_whole(args.html, statistics_page(counts))
        say(f"\npage: {args.html}")
    return 0


def draw(args: argparse.Namespace) -> int:
    """Draw contact sheets of the ground truth: masks, boxes, class names, and the skeleton.

    Look at them first: they show swapped joints, shifted outlines and wrong classes at once. A ring
    is a keypoint that is occluded. White crosses are points that belong to no object.
    """
    rules = data_common.rules_of(args)
    annotations = data_common.read_all(args.files)
    skeleton = data_common.skeleton_of(args, annotations)
    sources = [(file, data_common.folder_of(args, file)) for file in annotations]
    sheets = 0
    for (file, folder), images in zip(sources, find_images(sources), strict=True):
        labelled = via.build_instances(file, rules, skeleton)
        loose = {
            image.record.key: contact_sheets.loose_points(image, rules) for image in labelled.images
        }
        pictures = contact_sheets.ground_truth_pictures(
            labelled,
            images.places,
            skeleton,
            loose,
            lambda text: say(f"skipped: {text}", file=sys.stderr),
        )

        total = len(labelled.images)
        bar = iter(progress(islice(pictures, args.limit), total=min(args.limit, total)))
        drawn = 0
        while sheet := list(islice(bar, args.per_sheet)):
            drawn += len(sheet)
            sheets += 1
            contact_sheets.save_sheet(args.output, sheets, sheet)

        if not drawn:
            raise UserError(
                "no image to draw",
                file=file.file,
                found=f"no image in {folder}",
                key="--images",
                remedy="give the folder that holds the images",
            )
        say(f"{file.file}: {drawn} of {counted(total, 'image')} drawn")
        points = sum(map(len, loose.values()))
        if points:
            belong = counted(points, "point belongs", "points belong")
            say(f"  {belong} to no object: drawn as white crosses")
        if labelled.problems:
            say(f"  {data_common.count_of(labelled.problems)}: see roilab data check")
    stale = contact_sheets.remove_stale_sheets(args.output, sheets)
    removed = f" ({counted(stale, 'earlier one')} removed)" if stale else ""
    say(f"{counted(sheets, 'sheet')}: {args.output}{removed}")
    return 0


def _print_summary(report: CheckReport) -> None:
    rows = {
        "file": f"{report.file} ({report.container})",
        "images": f"{report.images}, {report.empty_images} of them empty",
        "regions": report.regions,
        "instances": report.instances,
        **({"crowds": report.crowds} if report.crowds else {}),
        "keypoints": report.keypoints,
        "classes": counts_line(report.classes, _CLASSES) or "none",
        "shapes": counts_line(report.shapes, _CLASSES) or "none",
        "problems": data_common.count_of(report.problems),
    }
    say()
    for name, value in rows.items():
        say(f"{name:<11}{value}")


def _print_stats(stats: Stats) -> None:
    crowds = f", {counted(stats.crowds, 'crowd')}" if stats.crowds else ""
    say(
        f"{counted(stats.images, 'image')}, {stats.empty_images} of them empty, "
        f"{counted(stats.instances, 'instance')}{crowds}"
    )
    sides = [(f"{2**k} to {2 ** (k + 1)}", count) for k, count in stats.box_sides.items()]
    keypoints = [(name, *counts) for name, counts in stats.keypoints.items()]
    pairs = [(f"{a} and {b}", count) for (a, b), count in stats.together.items() if a != b]
    _table(("shape", "regions"), [*stats.shapes.items()])
    table = class_table(stats)
    _table(table.head, table.rows)
    if stats.classes:
        say(repeats_note(stats))
    _table(("instances in an image", "images"), [*stats.per_image.items()])
    _table(("side of the box, pixels", "instances"), sides)
    if keypoints:
        _table(("keypoint", "visible", "occluded", "not labelled"), keypoints)
    if pairs:
        _table(("classes in one image", "images"), pairs)


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table; a long one is cut."""
    say(f"\n{markdown_table(Table(head, rows[:_ROWS]), 'github')}")
    if len(rows) > _ROWS:
        say(f"... and {len(rows) - _ROWS} more")
