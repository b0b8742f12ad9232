"""The page of one run: everything on it, escaped, in one file."""

import re

import numpy as np

from roilab.evaluation.analysis import Analysis, OperatingPoint
from roilab.evaluation.ap import Results
from roilab.evaluation.published import PublishedTable
from roilab.reporting import evaluation_page, published_sections, published_text

from .pages import Page

RESULTS: Results = {
    "bbox": {"AP": 10.1, "AP50": 25.2, "AP75": 0.0, "APs": 10.1, "APm": None, "APl": None}
}


PUBLISHED = PublishedTable(
    "As Table 0", "A paper", {"AP": "bbox/AP", "M": "bbox/APm"}, {"theirs": (30.0, None)}
)


def whole(
    names: tuple[str, str] = ("person", "car"),
    *,
    keypoints: bool = True,
    published: PublishedTable | None = None,
) -> str:
    """The page of a summary of three images: a, c and b."""
    person, car = names
    by_iou: dict[str, tuple[float | None, ...]] = {"bbox": (25.2,) * 4 + (0.0,) * 6}
    by_image: dict[str, tuple[float | None, ...]] = {"bbox": (50.0, None, 0.0)}
    if keypoints:
        by_iou["keypoints"] = (None,) * 10
        by_image["keypoints"] = (100.0, None, 0.0)
    summary = Analysis(
        score=0.5,
        images=("folder/a.jpg", "folder/c.jpg", "folder/b.jpg"),
        ap_by_iou=by_iou,
        image_ap50=by_image,
        operating_points={"bbox": {person: OperatingPoint(1, 2, 1), car: OperatingPoint(0, 0, 1)}},
        labels=(*names, "background"),
        confusion=np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0]]),
        keypoint_oks={"a": 1.0, "b": 0.32, "c": None} if keypoints else {},
    )
    pictures = {2: b"worst", 0: b"better"} if keypoints else {}
    comparisons = () if published is None else published_sections(published, RESULTS)
    return evaluation_page("run", ["a sentence"], RESULTS, summary, pictures, comparisons)


def test_page_has_everything() -> None:
    text = whole()
    page = Page(text)
    assert page.headings == [
        "run",
        "COCO AP",
        "AP by IoU or OKS threshold",
        "Precision and recall from score 0.5 on",
        "Confused classes from score 0.5 on",
        "Keypoints",
        "Per-image AP@0.5 (not COCO AP50)",
        "Worst images",
    ]
    assert "a sentence" in page.texts
    tables = [Page(table).texts for table in re.findall(r"<table>.*?</table>", text, re.DOTALL)]
    ap, by_iou, points, confusion, keypoints, images = map(" ".join, tables)
    assert "task class AP AP50 AP75 APs APm APl box all 10.1 25.2 0.0 10.1 - -" in ap
    assert "box 25.2 25.2 25.2 25.2 0.0" in by_iou
    assert "box person 33.3 50.0 1 2 1 box car - 0.0 0 0 1" in points
    assert "person 1 0 1 car 1 0 0 background 1 0 0" in confusion
    assert "a 1.00 b 0.32 c -" in keypoints
    assert "a.jpg 50.0 50.0 100.0 100.0 c.jpg - 50.0 - 100.0 b.jpg 0.0 25.0 0.0 50.0" in images
    assert "folder" not in text
    captions = [line for line in page.texts if ".jpg: " in line]
    assert captions == ["b.jpg: box 0.0, keypoint 0.0", "a.jpg: box 50.0, keypoint 100.0"]


def test_published_rows_have_a_heading_of_their_own() -> None:
    text = whole(published=PUBLISHED)
    headings = Page(text).headings
    assert headings[1:4] == ["COCO AP", "As Table 0", "Published results"]
    ours, theirs = text.split("<h2>As Table 0</h2>")[1].split("<h2>Published results</h2>")
    tables = [
        Page(re.findall(r"<table>.*?</table>", part, re.DOTALL)[0]) for part in (ours, theirs)
    ]
    assert [" ".join(table.texts) for table in tables] == [
        "AP M this run 10.1 -",
        "AP M theirs 30.0 -",
    ]
    assert "<p>A paper.</p>" in theirs


def test_published_text_is_for_a_terminal() -> None:
    lines = published_text(PUBLISHED, RESULTS).split("\n\n")
    assert lines[0] == "As Table 0"
    assert "| this run | 10.1 |   - |" in lines[1]
    assert lines[2:4] == ["Published results", "A paper."]
    assert "| theirs | 30.0 |   - |" in lines[4]


def test_plots_stand_beside_each_other() -> None:
    page = Page(whole())
    assert any("per-image AP@0.5, running mean (not COCO AP50)" in svg for svg in page.svgs)
    # A plot uses what itself defines, and no two define the same.
    defined = [set(re.findall(r'<(?:path|clipPath) id="(\w+)"', svg)) for svg in page.svgs]
    for svg, ids in zip(page.svgs, defined, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)(\w+)', svg)) <= ids
    assert not defined[0] & defined[1]


def test_names_are_escaped_and_parts_may_be_absent() -> None:
    page = Page(whole(("<b>", "a & b"), keypoints=False))
    assert not {"b", "img"} & set(page.tags)
    assert {"<b>", "a & b"} <= set(page.texts)
    assert not {"Keypoints", "Worst images"} & set(page.headings)
