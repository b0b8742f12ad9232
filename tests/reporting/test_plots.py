"""Plots: every value, the same text each time, readable on light and dark ground."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from roilab.reporting import plots
from roilab.reporting.document import to_html

LINES = {"one <b> $x$": [3.0, None, 1.0], "_two": [2.0, 2.0, 2.0]}


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()) for element in root.iter() if element.text]


def test_curves_have_every_name_and_gap() -> None:
    svg = plots.curves(LINES, [0.5, 0.6, 0.7], "AP by IoU", "IoU", "AP, percent")
    for name in (*LINES, "AP by IoU", "IoU", "AP, percent"):
        assert name in texts(svg)
    # The first line lacks a marker.
    first, second = (
        len(re.findall(rf"<use [^>]*fill: {colour}", svg)) for colour in plots.COLOURS[:2]
    )
    assert second - first == 1


def test_running_means_have_dots_and_a_line() -> None:
    svg = plots.running_means({"box": [100, None, 0], "mask": [None] * 3}, "means", "percent")
    assert {"box", "mask", "means", "percent"} <= set(texts(svg))
    paths = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {plots.COLOURS[0]}', svg)
    heights = [[float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path)] for path in paths]
    # 100, its mean with nothing, and 50: downwards in the picture.
    line = next(values for values in heights if len(values) == 3)
    assert line[0] == line[1] < line[2]


@pytest.mark.parametrize("count", [1, 9])
def test_a_plot_is_the_same_each_time_and_leaves_nothing(count: int) -> None:
    lines = {str(index): [index, 1.0] for index in range(count)}
    before = dict(matplotlib.rcParams)
    first, second = (plots.curves(lines, [0, 1], "title", "x", "y") for _ in range(2))
    assert first == second
    assert "date" not in first.lower()
    assert dict(matplotlib.rcParams) == before


def test_a_plot_can_be_read_on_light_and_dark_ground() -> None:
    def luminance(colour: str) -> float:
        values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in plots.COLOURS:
        for ground in ("#ffffff", "#14191f"):
            dark, light = sorted([luminance(colour), luminance(ground)])
            assert (light + 0.05) / (dark + 0.05) >= 3
    svg = plots.curves(LINES, [1, 2, 3], "title", "x", "y")
    colours = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r'"#\w+"', "", svg)))
    assert colours <= set(plots.COLOURS)
    # Text has the colour of the page, or alone, in a file, a middle tone as well.
    assert "fill: currentColor" in svg
    assert ElementTree.fromstring(svg).get("color") in plots.COLOURS
    assert re.search(r"svg \{[^}]*color: var\(--ink\)", to_html("", []))
