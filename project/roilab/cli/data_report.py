"""`roilab data check`, `stats` and `draw`: problems, counts and pictures of annotation files."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_common import (
    count_of,
    fitting,
    folder_of,
    in_options,
    print_problems,
    progress,
    read_all,
    rules_of,
    skeleton_of,
    working,
)
from roilab.curation.check import CheckReport, check_annotations, unusable_file
from roilab.curation.contact_sheets import (
    ground_truth_pictures,
    loose_points,
    remove_stale_sheets,
    save_sheet,
)
from roilab.curation.stats import SIZES, Stats, count_annotations
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.reporting import statistics_page
from roilab.text import counted, counts_line

_CLASSES = 20  # classes that are listed
_ROWS = 30  # rows of a table that are printed


def check(args: argparse.Namespace) -> int:
    """List the problems of annotation files and of their images, the most severe first.

    An error leaves something out, a warning may be a mistake, and a note counts what is left out on
    request or explains how an attribute is read.
    The exit status is 0 where there is no error and 1 where there is.
    """
    rules = rules_of(args)
    sources: dict[Path, via.Annotations | UserError] = {}
    for file in args.files:
        try:
            sources[file] = read_annotations(file)
        except UserError as error:
            sources[file] = error
    readable = [file for file in sources.values() if isinstance(file, via.Annotations)]
    skeleton = skeleton_of(args, readable)
    folders = {file.file: folder_of(args, file) for file in readable}
    # Files that are checked together are used together: two of them may hold one image.
    images = find_images([(file, folders[file.file]) for file in readable])
    located = {file.file: places for file, places in zip(readable, images, strict=True)}
    findings = [
        unusable_file(file, source)
        if isinstance(source, UserError)
        else check_annotations(
            source, folders[source.file], rules, skeleton, progress, located[source.file]
        )
        for file, source in sources.items()
    ]
    if args.json is not None:
        shown = [replace(report, problems=in_options(report.problems)) for report in findings]
        data = {"files": [report.to_dict() for report in shown]}
        write_whole(args.json, json.dumps(data, indent=2) + "\n")
    print_problems(problem for report in findings for problem in report.problems)
    for report in findings:
        _print_summary(report)
    return int(any(report.errors for report in findings))


def stats(args: argparse.Namespace) -> int:
    """Count what annotation files hold: images, classes, sizes, keypoints, classes in one image.

    Several files are counted together. Where the image of an object is available, the part outside
    the image is left out, as in training. --html writes the same as a page with plots.
    """
    files = read_all(args.files)
    with working("labelling"):
        rules, skeleton = rules_of(args), skeleton_of(args, files)
        labelled = fitting(
            args, files, [via.build_instances(file, rules, skeleton) for file in files]
        )
    counts = count_annotations(list(zip(files, labelled, strict=True)), skeleton, progress)
    _print_stats(counts)
    problems = [problem for file in labelled for problem in file.problems]
    if problems:
        say(f"\n{count_of(problems)}: see roilab data check")
    if args.json is not None:
        write_whole(args.json, json.dumps(counts.to_dict(), indent=2) + "\n")
    if args.html is not None:
        write_whole(args.html, statistics_page(counts))
        say(f"\npage: {args.html}")
    return 0


def draw(args: argparse.Namespace) -> int:
    """Draw contact sheets of the ground truth: masks, boxes, class names, and the skeleton.

    Look at them first: they show swapped joints, shifted outlines and wrong classes at once. White
    crosses are points that belong to no object.
    """
    rules = rules_of(args)
    annotations = read_all(args.files)
    skeleton = skeleton_of(args, annotations)
    sheets = 0
    folders = [folder_of(args, file) for file in annotations]
    located = find_images(list(zip(annotations, folders, strict=True)))
    for file, folder, images in zip(annotations, folders, located, strict=True):
        labelled = via.build_instances(file, rules, skeleton)
        loose = {image.record.key: loose_points(image, rules) for image in labelled.images}
        pictures = ground_truth_pictures(
            labelled,
            images.places,
            skeleton,
            loose,
            lambda text: say(f"skipped: {text}", file=sys.stderr),
        )
        bar = tqdm(
            islice(pictures, args.limit),
            total=min(args.limit, len(labelled.images)),
            unit="image",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        drawn, rest = 0, iter(bar)
        while sheet := list(islice(rest, args.per_sheet)):
            drawn += len(sheet)
            sheets += 1
            save_sheet(args.output, sheets, sheet)
        if not drawn:
            raise UserError(
                "no image to draw",
                file=file.file,
                found=f"no image in {folder}",
                key="--images",
                remedy="give the folder that holds the images",
            )
        say(f"{file.file}: {drawn} of {counted(len(labelled.images), 'image')} drawn")
        if count := sum(map(len, loose.values())):
            belong = counted(count, "point belongs", "points belong")
            say(f"  {belong} to no object: drawn as white crosses")
        if labelled.problems:
            say(f"  {count_of(labelled.problems)}: see roilab data check")
    stale = remove_stale_sheets(args.output, sheets)
    say(
        f"{counted(sheets, 'sheet')}: {args.output}"
        + (f" ({counted(stale, 'earlier one')} removed)" if stale else "")
    )
    return 0


def _print_summary(findings: CheckReport) -> None:
    rows = {
        "file": f"{findings.file} ({findings.container})",
        "images": f"{findings.images}, {findings.empty_images} of them empty",
        "regions": findings.regions,
        "instances": findings.instances,
        **({"crowds": findings.crowds} if findings.crowds else {}),
        "keypoints": findings.keypoints,
        "classes": counts_line(findings.classes, _CLASSES) or "none",
        "shapes": counts_line(findings.shapes, _CLASSES) or "none",
        "problems": count_of(findings.problems),
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
    _table(("shape", "regions"), stats.shapes.items())
    _table(
        ("class", "instances", "images", *SIZES, "area", "median area"),
        (
            (name, row.instances, row.images, *row.sizes, row.area, row.median_area)
            for name, row in stats.classes.items()
        ),
    )
    _table(("instances in an image", "images"), stats.per_image.items())
    _table(
        ("side of the box, pixels", "instances"),
        ((f"{2**k} to {2 ** (k + 1)}", count) for k, count in stats.box_sides.items()),
    )
    if stats.keypoints:
        _table(
            ("keypoint", "visible", "occluded", "not labelled"),
            ((name, *counts) for name, counts in stats.keypoints.items()),
        )
    pairs = [(f"{a} and {b}", count) for (a, b), count in stats.together.items() if a != b]
    if pairs:
        _table(("classes in one image", "images"), pairs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Print a table: names to the left, numbers to the right."""
    rows = list(rows)
    cells = [
        [cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in row] for row in rows[:_ROWS]
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    say()
    for row in (head, *cells):
        name, *numbers = row
        right = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        say("  ".join((f"{name:<{widths[0]}}", *right)))
    if len(rows) > _ROWS:
        say(f"... and {len(rows) - _ROWS} more")
