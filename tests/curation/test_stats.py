"""Counts, and the page they are shown on."""

import json
from collections.abc import Sequence

from roilab.curation.stats import ClassStats, Stats, count_annotations
from roilab.reporting import statistics_page
from roilab.skeleton import Skeleton
from roilab.via import (
    Annotations,
    Container,
    ImageRecord,
    LabelledImage,
    Point,
    Rect,
    Region,
    Shape,
    Value,
    build_instances,
)

BONES = Skeleton("bones", ("<b>",), ("head", "hand"), (), (), (0.1, 0.1))


def counted() -> Stats:
    drawn: list[list[tuple[Shape, dict[str, Value]]]] = [
        [
            (Rect(0, 0, 100, 100), {"kind": "<b>"}),
            (Rect(200, 0, 31, 32), {"kind": "<b>"}),
            (Rect(300, 0, 32, 32), {"kind": "car"}),
            (Point(5, 5), {"part": "head", "seen": "occluded"}),
            (Point(210, 5), {"part": "head"}),
        ],
        [(Rect(0, 0, 20, 10), {"kind": "car"})],
        [],
    ]
    images = tuple(
        ImageRecord(f"{n}", f"{n}.jpg", None, tuple(Region(at, *each) for at, each in enumerate(r)))
        for n, r in enumerate(drawn)
    )
    source = Annotations("a & b.json", Container.VIA2_JSON, images, {}, {})
    return count_annotations([(source, build_instances(source, skeleton=BONES))], BONES)


def test_counts() -> None:
    found = counted()
    assert (found.images, found.empty_images, found.instances) == (3, 1, 4)
    assert found.shapes == {"point": 2, "rect": 4}
    assert found.classes == {
        "<b>": ClassStats(2, 1, 100 * 100 + 31 * 32, (100 * 100 + 31 * 32) / 2, (1, 0, 1)),
        "car": ClassStats(2, 2, 32 * 32 + 200, (32 * 32 + 200) / 2, (1, 1, 0)),
    }
    assert found.per_image == {0: 1, 1: 1, 3: 1}
    # Sides of 14, 31.5, 32 and 100 pixels.
    assert found.box_sides == {3: 1, 4: 1, 5: 1, 6: 1}
    assert found.keypoints == {"head": (1, 1, 0), "hand": (0, 0, 2)}
    assert found.together == {("<b>", "<b>"): 1, ("<b>", "car"): 1, ("car", "car"): 2}


def test_json() -> None:
    data = json.loads(json.dumps(counted().to_dict()))
    assert ["<b>", "car", 1] in data["together"]
    assert data["classes"]["car"]["instances"] == 2


def test_page_is_whole_and_escaped() -> None:
    text = statistics_page(counted())
    assert "<b>" not in text.replace("<b>3</b>", "").replace("<b>1</b>", "").replace(
        "<b>4</b>", ""
    ).replace("<b>2</b>", "")
    assert "&lt;b&gt;" in text
    assert "a &amp; b.json" in text
    assert "http" not in text


def test_nothing_annotated() -> None:
    source = Annotations("empty.json", Container.VIA2_JSON, (), {}, {})
    found = count_annotations([(source, build_instances(source))], None)
    assert (found.images, found.instances, found.classes) == (0, 0, {})
    assert "empty.json" in statistics_page(found)


def test_progress_sees_every_image() -> None:
    images = (ImageRecord("0", "0.jpg", None, ()), ImageRecord("1", "1.jpg", None, ()))
    source = Annotations("a.json", Container.VIA2_JSON, images, {}, {})
    seen: list[LabelledImage] = []

    def progress(images: Sequence[LabelledImage]) -> Sequence[LabelledImage]:
        seen.extend(images)
        return images

    assert (
        count_annotations([(source, build_instances(source))], None, progress).empty_images
        == len(seen)
        == 2
    )
