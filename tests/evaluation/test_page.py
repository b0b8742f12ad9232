"""The page of one run and its plots: whole, well-formed, readable on any ground, escaped."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import matplotlib
import pytest

from roilab.evaluation import average_precision, plots
from roilab.evaluation.page import evaluation_page
from roilab.evaluation.summary import summarize
from roilab.html_page import STYLE

from .test_summary import BONES, TASKS, scene

LINES = {"one <b> $x$": [3.0, None, 1.0], "_two": [2.0, 2.0, 2.0]}


class Reader(HTMLParser):
    """The texts of a page, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name.endswith(("src", "href"))]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def text_of(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter() if each.text]


def test_curves_have_every_name_and_gap() -> None:
    svg = plots.curves(LINES, [0.5, 0.6, 0.7], "AP by strictness", "IoU", "AP, percent")
    for name in (*LINES, "AP by strictness", "IoU", "AP, percent"):
        assert name in text_of(svg)
    # The first line lacks a marker.
    first, second = (
        len(re.findall(rf"<use [^>]*fill: {colour}", svg)) for colour in plots.COLOURS[:2]
    )
    assert second - first == 1


def test_running_means_have_dots_and_a_line() -> None:
    svg = plots.running_means({"box": [100, None, 0], "mask": [None] * 3}, "means", "percent")
    assert {"box", "mask", "means", "percent"} <= set(text_of(svg))
    drawn = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {plots.COLOURS[0]}', svg)
    heights = [[float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", each)] for each in drawn]
    # 100, its mean with nothing, and 50: downwards in the picture.
    line = next(each for each in heights if len(each) == 3)
    assert line[0] == line[1] < line[2]


@pytest.mark.parametrize("count", [1, 9])
def test_a_plot_is_the_same_each_time_and_leaves_nothing(count: int) -> None:
    lines = {str(index): [index, 1.0] for index in range(count)}
    before = dict(matplotlib.rcParams)
    first, second = (plots.curves(lines, [0, 1], "title", "x", "y") for _ in range(2))
    assert first == second
    assert "date" not in first.lower()
    assert dict(matplotlib.rcParams) == before


def test_a_plot_is_told_from_light_and_dark_ground() -> None:
    def luminance(colour: str) -> float:
        values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in plots.COLOURS:
        for ground in ("#ffffff", "#14191f"):
            dark, light = sorted([luminance(colour), luminance(ground)])
            assert (light + 0.05) / (dark + 0.05) >= 3
    svg = plots.curves(LINES, [1, 2, 3], "title", "x", "y")
    found = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r'"#\w+"', "", svg)))
    assert found <= set(plots.COLOURS)
    # Text has the colour of the page, or alone, in a file, a middle tone as well.
    assert "fill: currentColor" in svg
    assert ElementTree.fromstring(svg).get("color") in plots.COLOURS
    assert re.search(r"svg \{[^}]*color: var\(--ink\)", STYLE)


def whole(names: tuple[str, str] = ("person", "car")) -> str:
    truth, found = scene(names)
    bones = BONES if names[0] == "person" else None
    tasks = TASKS if bones is not None else ["bbox"]
    results = average_precision(truth, found, tasks, bones)
    summary = summarize(truth, found, tasks, bones, 0.5)
    return evaluation_page("run", ["a sentence"], results, summary, {2: b"worst", 0: b"better"})


def test_page_has_everything() -> None:
    text = whole()
    read = Reader(text)
    for heading in (
        "run",
        "a sentence",
        "COCO AP",
        "AP by strictness",
        "Precision and recall from score 0.5 on",
        "Confused classes from score 0.5 on",
        "Joints",
        "Per-image AP@0.5 (not COCO AP50)",
        "per-image AP@0.5, running mean (not COCO AP50)",
        "Worst images",
    ):
        assert heading in read.texts, heading
    tables = [Reader(each).texts for each in re.findall(r"<table>.*?</table>", text, re.DOTALL)]
    rows = [" ".join(filter(None, each)) for each in tables]
    ap, strictness, points, confusion, joints, images = rows
    assert "task class AP AP50 AP75 APs APm APl box all 10.1 25.2 0.0" in ap
    assert "box 25.2 25.2 25.2 25.2 0.0" in strictness
    assert "box person 33.3 50.0 1 2 1 box car - 0.0 0 0 1" in points
    assert "person 1 0 1 car 1 0 0 background 1 0 0" in confusion
    assert "a 1.00 b 0.32 c -" in joints
    assert "a.jpg 50.0 50.0 100.0 100.0 c.jpg - 50.0 - 100.0 b.jpg 0.0 25.0 0.0 50.0" in images
    assert "folder" not in text
    shown = [each for each in read.texts if ".jpg: " in each]
    assert shown == ["b.jpg: box 0.0, keypoint 0.0", "a.jpg: box 50.0, keypoint 100.0"]


def test_page_stands_alone() -> None:
    text = whole()
    read = Reader(text)
    assert read.loaded
    assert all(each.startswith(("data:image/jpeg;base64,", "#")) for each in read.loaded)
    assert not {"script", "link", "iframe"} & set(read.tags)
    assert "url(http" not in text
    assert "<?" not in text
    svgs = re.findall(r"<svg\b.*?</svg>", text, re.DOTALL)
    assert len(svgs) == 2
    for each in svgs:
        ElementTree.fromstring(each)
    # A plot uses what itself defines, and no two define the same.
    defined = [set(re.findall(r'<(?:path|clipPath) id="(\w+)"', each)) for each in svgs]
    for each, ids in zip(svgs, defined, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)(\w+)', each)) <= ids
    assert not defined[0] & defined[1]


def test_names_are_escaped_and_pictures_may_be_absent() -> None:
    text = whole(("<b>", "a & b"))
    read = Reader(text)
    assert "b" not in read.tags
    assert {"<b>", "a & b"} <= set(read.texts)
    assert "Joints" not in read.texts
    truth, found = scene()
    results = average_precision(truth, found, ["bbox"])
    summary = summarize(truth, found, ["bbox"], None, 0.5)
    bare = Reader(evaluation_page("<i>", ["<u>"], results, summary, {}))
    assert not {"i", "u", "img"} & set(bare.tags)
    assert "Worst images" not in bare.texts
