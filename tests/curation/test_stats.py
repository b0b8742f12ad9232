"""Counts, and the page they are shown on."""

import json
from collections.abc import Sequence

from roilab import via
from roilab.curation.stats import ClassStats, Stats, count_annotations
from roilab.reporting import statistics_page
from roilab.skeleton import Skeleton

BONES = Skeleton("bones", ("<b>",), ("head", "hand"), (), (), (0.1, 0.1))


def counted(**options: float) -> Stats:
    drawn: list[list[tuple[via.Shape, dict[str, via.Value]]]] = [
        [
            (via.Rect(0, 0, 100, 100), {"kind": "<b>"}),
            (via.Rect(200, 0, 31, 32), {"kind": "<b>"}),
            (via.Rect(300, 0, 32, 32), {"kind": "car"}),
            (via.Point(5, 5), {"part": "head", "seen": "occluded"}),
            (via.Point(210, 5), {"part": "head"}),
        ],
        [(via.Rect(0, 0, 20, 10), {"kind": "car"})],
        [],
    ]
    regions = [tuple(via.Region(at, *pair) for at, pair in enumerate(pairs)) for pairs in drawn]
    images = tuple(via.ImageRecord(f"{n}", f"{n}.jpg", None, r) for n, r in enumerate(regions))
    source = via.Annotations("a & b.json", via.Container.VIA2_JSON, images, {}, {})
    labelled = via.build_instances(source, skeleton=BONES)
    return count_annotations([(source, labelled)], BONES, **options)


def test_counts() -> None:
    stats = counted()
    assert (stats.images, stats.empty_images, stats.instances) == (3, 1, 4)
    assert stats.shapes == {"point": 2, "rect": 4}
    assert stats.classes == {
        "<b>": ClassStats(2, 1, 100 * 100 + 31 * 32, (100 * 100 + 31 * 32) / 2, (1, 0, 1), 1.0),
        "car": ClassStats(2, 2, 32 * 32 + 200, (32 * 32 + 200) / 2, (1, 1, 0), 1.0),
    }
    assert stats.per_image == {0: 1, 1: 1, 3: 1}
    # Sides of 14, 31.5, 32 and 100 pixels.
    assert stats.box_sides == {3: 1, 4: 1, 5: 1, 6: 1}
    assert stats.keypoints == {"head": (1, 1, 0), "hand": (0, 0, 2)}
    assert stats.together == {("<b>", "<b>"): 1, ("<b>", "car"): 1, ("car", "car"): 2}


def test_repeat_factors_are_those_of_the_images_that_training_draws() -> None:
    """One of the two images that are not empty has the first class, both have the other."""
    stats = counted(repeat_threshold=1.0)
    factors = {name: numbers.repeat_factor for name, numbers in stats.classes.items()}
    assert factors == {"<b>": 2**0.5, "car": 1.0}
    data = stats.to_dict()
    assert data["classes"]["<b>"]["repeat_factor"] == 2**0.5
    assert data["repeat_threshold"] == 1.0
    page = statistics_page(stats)
    assert "1.41" in page
    assert "dataloader.train.repeat_threshold=1;" in page


def test_json() -> None:
    data = json.loads(json.dumps(counted().to_dict()))
    assert ["<b>", "car", 1] in data["together"]
    assert data["classes"]["car"]["instances"] == 2


def test_page_is_whole_and_escaped() -> None:
    text = statistics_page(counted())
    for number in range(1, 5):
        text = text.replace(f"<b>{number}</b>", "")
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert "a &amp; b.json" in text
    assert "http" not in text


def test_nothing_annotated() -> None:
    source = via.Annotations("empty.json", via.Container.VIA2_JSON, (), {}, {})
    stats = count_annotations([(source, via.build_instances(source))], None)
    assert (stats.images, stats.instances, stats.classes) == (0, 0, {})
    assert "empty.json" in statistics_page(stats)


def test_progress_sees_every_image() -> None:
    images = (via.ImageRecord("0", "0.jpg", None, ()), via.ImageRecord("1", "1.jpg", None, ()))
    source = via.Annotations("a.json", via.Container.VIA2_JSON, images, {}, {})
    seen: list[via.LabelledImage] = []

    def progress(images: Sequence[via.LabelledImage]) -> Sequence[via.LabelledImage]:
        seen.extend(images)
        return images

    files = [(source, via.build_instances(source))]
    assert count_annotations(files, None, progress).empty_images == len(seen) == 2
