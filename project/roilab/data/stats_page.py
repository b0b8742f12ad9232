"""Statistics as one HTML page that needs no network and no script."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from roilab.data.stats import SIZES, Stats

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #66727f; --ground: #ffffff;
        --line: #d9dfe5; --a: #2f6fb3; --b: #e08a1e; --c: #b8c2cc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --dim: #97a3af; --ground: #14191f; --line: #323c46;
          --a: #5b9bdf; --b: #eba04a; --c: #4a5560; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p, figcaption { color: var(--dim); margin: .2rem 0 .8rem; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.2rem 0; }
.facts b { display: block; font-size: 1.6rem; font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; }
.bars { display: grid; grid-template-columns: minmax(5rem, max-content) 1fr max-content;
        gap: .25rem .8rem; align-items: center; }
.bar { display: flex; height: 1.05rem; }
.bar i { display: block; } .bars span:nth-child(3n) { text-align: right; color: var(--dim); }
.a { background: var(--a); } .b { background: var(--b); } .c { background: var(--c); }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; }
.wide { overflow-x: auto; }
"""


def page(stats: Stats) -> str:
    """The whole page. Names from the files are escaped."""
    names = ", ".join(Path(file).name for file in stats.files)
    facts = {
        "images": stats.images,
        "of them empty": stats.empty_images,
        "instances": stats.instances,
        "classes": len(stats.classes),
    }
    parts = [
        f"<h1>{escape(names)}</h1>",
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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(names)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _classes(stats: Stats) -> str:
    head = ("class", "instances", "images", *SIZES, "area", "median area")
    rows = [
        (name, each.instances, each.images, *each.sizes, each.area, each.median_area)
        for name, each in stats.classes.items()
    ]
    return "<h2>Classes</h2>" + _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(each) if isinstance(each, str) else f'{each:,.0f}'}</td>" for each in row
        )
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>\n{body}</table></div>'


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
    most = max(stats.together.values())

    def cell(one: str, other: str) -> str:
        count = stats.together.get((min(one, other), max(one, other)), 0)
        share = f"color-mix(in srgb, var(--a) {60 * count / most:.0f}%, transparent)"
        return f'<td style="background:{share}">{count:,}</td>'

    top = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr><th>{escape(one)}</th>{''.join(cell(one, other) for other in names)}</tr>\n"
        for one in names
    )
    return f'<div class="wide"><table><tr><th></th>{top}</tr>\n{body}</table></div>'


def _range(keys: Iterable[int]) -> range:
    found = list(keys)
    return range(min(found), max(found) + 1) if found else range(0)
