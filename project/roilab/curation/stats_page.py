"""Statistics as one HTML page that needs no network and no script."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from roilab.curation.stats import SIZES, Stats
from roilab.html_page import document, heat_map, html_table


def stats_page(stats: Stats) -> str:
    """The whole page. Names from the files are escaped."""
    names = ", ".join(Path(file).name for file in stats.files)
    facts = {
        "images": stats.images,
        "of them empty": stats.empty_images,
        "instances": stats.instances,
        "classes": len(stats.classes),
    }
    parts = [
        f"<p>{escape(', '.join(stats.files))}</p>",
        '<div class="facts">',
        *(f"<div><b>{value:,}</b>{escape(name)}</div>" for name, value in facts.items()),
        "</div>",
        _classes(stats),
        "<h2>Instances by class</h2>",
        _bars((name, (each.instances,)) for name, each in stats.classes.items()),
        "<h2>Size of the boxes</h2>",
        (
            "<p>By the side of a square of the same area, in pixels. COCO calls a box small below "
            "32, medium below 96, and large from there on.</p>"
        ),
        _bars(
            (f"{2**k} to {2 ** (k + 1)}", (stats.box_sides.get(k, 0),))
            for k in _range(stats.box_sides)
        ),
        "<h2>Instances in an image</h2>",
        _bars((str(count), (images,)) for count, images in stats.per_image.items()),
        "<h2>Regions by shape</h2>",
        _bars((name, (count,)) for name, count in stats.shapes.items()),
    ]
    if stats.keypoints:
        parts += [
            "<h2>Keypoints</h2>",
            (
                '<p><i class="key a"></i>visible<i class="key b"></i>occluded'
                '<i class="key c"></i>not labelled</p>'
            ),
            _bars(stats.keypoints.items()),
        ]
    if len(stats.classes) > 1:
        parts += ["<h2>Classes in one image</h2>", _together(stats)]
    return document(names, parts)


def _classes(stats: Stats) -> str:
    head = ("class", "instances", "images", *SIZES, "area", "median area")
    rows = [
        (
            name,
            each.instances,
            each.images,
            *each.sizes,
            f"{each.area:,.0f}",
            f"{each.median_area:,.0f}",
        )
        for name, each in stats.classes.items()
    ]
    return "<h2>Classes</h2>" + html_table(head, rows)


def _bars(rows: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Horizontal bars; each may be of several parts in colours a, b, c."""
    rows = list(rows)
    most = max((sum(parts) for _, parts in rows), default=0) or 1
    lines = []
    for name, parts in rows:
        bar = "".join(
            f'<i class="{colour}" style="width:{100 * part / most:.2f}%"></i>'
            for colour, part in zip("abc", parts, strict=False)
        )
        numbers = " / ".join(f"{part:,}" for part in parts)
        lines.append(
            f'<span>{escape(name)}</span><div class="bar">{bar}</div><span>{numbers}</span>'
        )
    return '<div class="bars">\n' + "\n".join(lines) + "\n</div>"


def _together(stats: Stats) -> str:
    """A heat map: images that hold both classes."""
    names = list(stats.classes)
    return heat_map(
        "",
        names,
        (
            (one, [stats.together.get((min(one, other), max(one, other)), 0) for other in names])
            for one in names
        ),
    )


def _range(keys: Iterable[int]) -> range:
    found = list(keys)
    return range(min(found), max(found) + 1) if found else range(0)
