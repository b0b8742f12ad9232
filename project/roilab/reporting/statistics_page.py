"""The page of annotation statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from roilab.curation.stats import SIZES, Stats
from roilab.reporting.document import Cell, Section, Table, to_html


def statistics_page(stats: Stats) -> str:
    """One HTML page with the counts of annotation files as tables and bars."""
    facts: list[list[Cell]] = [
        ["images", stats.images],
        ["of them empty", stats.empty_images],
        ["instances", stats.instances],
        ["classes", len(stats.classes)],
    ]
    boxes = {}
    if stats.box_sides:
        for power in range(min(stats.box_sides), max(stats.box_sides) + 1):
            count = stats.box_sides.get(power, 0)
            boxes[f"{2**power} to {2 ** (power + 1)}"] = (count,)
    text = (
        "By the side of a square of the same area, in pixels. COCO calls a box small below 32, "
        "medium below 96, and large from there on."
    )
    sections = [
        Section("", ", ".join(stats.files), [Table(("", ""), facts, "facts")]),
        Section("Classes", repeats_note(stats), [class_table(stats)]),
        _bars("Instances by class", {name: (of.instances,) for name, of in stats.classes.items()}),
        _bars("Size of the boxes", boxes, text=text),
        _bars("Instances in an image", {str(n): (count,) for n, count in stats.per_image.items()}),
        _bars("Regions by shape", {name: (count,) for name, count in stats.shapes.items()}),
    ]
    if stats.keypoints:
        parts = ("visible", "occluded", "not labelled")
        sections.append(_bars("Keypoints", stats.keypoints, parts))
    names = list(stats.classes)
    if len(names) > 1:
        # The number of images that hold both classes of a pair.
        pairs: list[list[Cell]] = []
        for one in names:
            sorted_pairs = [(min(one, other), max(one, other)) for other in names]
            pairs.append([one, *(stats.together.get(pair, 0) for pair in sorted_pairs)])
        sections.append(Section("Classes in one image", (), [Table(("", *names), pairs, "heat")]))
    return to_html(", ".join(Path(file).name for file in stats.files), sections)


def class_table(stats: Stats) -> Table:
    """The counts of the classes, a row for each."""
    head = ("class", "instances", "images", *SIZES, "area", "median area", "repeat factor")
    rows: list[list[Cell]] = [
        [
            *(name, of.instances, of.images, *of.sizes),
            *(f"{of.area:,.0f}", f"{of.median_area:,.0f}", f"{of.repeat_factor:.2f}"),
        ]
        for name, of in stats.classes.items()
    ]
    return Table(head, rows)


def repeats_note(stats: Stats) -> str:
    """A sentence on the meaning of the repeat factors of the classes."""
    threshold = f"{stats.repeat_threshold:g}"
    return (
        "The repeat factor says how many times a pass over the data draws an image of the class, "
        f"with dataloader.train.repeat_threshold={threshold}; an image of several classes is "
        "drawn as its rarest one asks."
    )


def _bars(
    title: str, rows: Mapping[str, Sequence[int]], parts: Sequence[str] = ("",), text: str = ""
) -> Section:
    """A section of bars, one a row; its counts are the named parts of the bar."""
    table = Table(("", *parts), [(name, *counts) for name, counts in rows.items()], "bars")
    return Section(title, text, [table])
