"""A skeleton from points, and sigmas from repeated annotation."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roilab import via
from roilab.curation.infer_skeleton import estimate_sigmas, infer_skeleton, with_sigmas
from roilab.data.mask_to_polygons import read_annotations
from roilab.errors import UserError
from roilab.skeleton import DEFAULT_SIGMA, Skeleton, from_dict

Drawn = list[tuple[via.Shape, dict[str, via.Value]]]


def file_of(*images: Drawn, **declared: via.Attribute) -> via.Annotations:
    regions = [tuple(via.Region(at, *pair) for at, pair in enumerate(drawn)) for drawn in images]
    records = tuple(via.ImageRecord(f"{n}", f"{n}.jpg", None, r) for n, r in enumerate(regions))
    return via.Annotations("via.json", via.Container.VIA2_PROJECT, records, declared, {})


def points(*names: str) -> Drawn:
    return [(via.Point(1, 1), {"part": name, "id": "1", "seen": "visible"}) for name in names]


def box() -> tuple[via.Shape, dict[str, via.Value]]:
    return via.Rect(0, 0, 9, 9), {"kind": "cat", "id": "1"}


def test_the_default_on_outlines_is_no_reason_against_an_attribute() -> None:
    """VIA gives an attribute's default to every region that is drawn."""
    drawn: Drawn = [
        (via.Rect(0, 0, 9, 9), {"part": "head", "id": "1"}),
        (via.Point(1, 1), {"part": "head", "id": "1"}),
        (via.Point(2, 2), {"part": "tail", "id": "1"}),
    ]
    skeleton = infer_skeleton([file_of(drawn)], "s", classes=["cat"])
    assert skeleton.keypoints == ("head", "tail")
    (image,) = via.build_instances(
        file_of(drawn), via.LabelRules(default_class="cat"), skeleton
    ).images
    (cat,) = image.instances
    assert cat.keypoints == ((1, 1, 2), (2, 2, 2))


def test_one_attribute_for_outlines_and_points() -> None:
    drawn: Drawn = [(via.Rect(0, 0, 9, 9), {"name": "cat"}), (via.Point(1, 1), {"name": "head"})]
    skeleton = infer_skeleton([file_of(drawn)], "s", classes=["cat"])
    (cat,) = via.build_instances(file_of(drawn), skeleton=skeleton).images[0].instances
    assert cat.keypoints == ((1, 1, 2),)


def test_points_without_names_are_named_first() -> None:
    drawn: Drawn = [(via.Rect(0, 0, 9, 9), {}), (via.Point(1, 1), {})]
    with pytest.raises(UserError, match="give the points such an attribute in VIA"):
        infer_skeleton([file_of(drawn)], "s")


def test_names_by_frequency_and_swaps() -> None:
    names = ("tail", "left_ear", "tail", "right_ear", "nose")
    skeleton = infer_skeleton([file_of([box(), *points(*names)])], "s")
    assert skeleton.keypoints == ("tail", "left_ear", "right_ear", "nose")
    assert skeleton.swaps == (("left_ear", "right_ear"),)
    assert skeleton.links == ()
    assert skeleton.sigmas == (DEFAULT_SIGMA, 0.035, 0.035, 0.026)
    assert from_dict(skeleton.to_dict()) == skeleton


@pytest.mark.parametrize(
    ("left", "right", "swapped"),
    [
        ("left_ear", "right_ear", True),
        ("LeftEar", "RightEar", True),
        ("Left ear", "Right ear", True),
        ("ear_left", "ear_right", True),
        ("l_ear", "r_ear", True),
        ("ear-L", "ear-R", True),
        ("leg", "reg", False),
        ("pearl", "pearr", False),
        ("lefteye2", "righteye2", True),
        ("left", "right", True),
        ("front_left_paw", "front_right_paw", True),
        ("eyeL", "eyeR", True),
        ("eyeLInner", "eyeRInner", True),
        ("LEye", "REye", True),
        ("LEG", "REG", False),
        ("frontal", "frontar", False),
        ("hipXL", "hipXR", False),
    ],
)
def test_sides(left: str, right: str, swapped: bool) -> None:
    skeleton = infer_skeleton([file_of([box(), *points(right, left, "nose")])], "s")
    assert skeleton.swaps == (((left, right),) if swapped else ())


def test_option_ids_are_shown_by_description() -> None:
    part = via.Attribute("part", "dropdown", "", {"0": "nose"})
    assert infer_skeleton([file_of([box(), *points("0")], part=part)], "s").keypoints == ("nose",)


def test_which_attribute_has_to_be_plain() -> None:
    drawn: Drawn = [(via.Point(1, 1), {"part": "nose", "who": "me"})]
    with pytest.raises(UserError, match=r"part \('nose'\); who \('me'\)"):
        infer_skeleton([file_of(drawn)], "s")
    assert infer_skeleton([file_of(drawn)], "s", "part").keypoints == ("nose",)
    with pytest.raises(UserError, match="no point has the attribute 'nope'"):
        infer_skeleton([file_of(drawn)], "s", "nope")


def test_no_points() -> None:
    with pytest.raises(UserError, match="no points"):
        infer_skeleton([file_of([box()])], "s")


BONES = Skeleton("bones", ("cat",), ("nose", "tail"), (), (), (0.5, 0.5))
TRUE = {"nose": 0.03, "tail": 0.1}


def annotator(seed: int, objects: int, names: Sequence[str] = ("nose", "tail")) -> via.LabelledSet:
    """Somebody who draws 40 x 90 boxes right and points with the error of TRUE."""
    chance = random.Random(seed)
    images = []
    for _ in range(objects):
        drawn: Drawn = [(via.Rect(0, 0, 40, 90), {"kind": "cat", "id": "1"})]
        for name in names:
            # sigma^2 = E[d^2] / s^2, and d^2 is the sum over x and y.
            spread = TRUE[name] * (40 * 90) ** 0.5 / 2**0.5
            x, y = 20 + chance.gauss(0, spread), 45 + chance.gauss(0, spread)
            drawn.append((via.Point(x, y), {"part": name, "id": "1"}))
        images.append(drawn)
    return via.build_instances(file_of(*images), skeleton=BONES)


@pytest.mark.parametrize("people", [2, 4])
def test_known_sigmas_are_found(people: int) -> None:
    sigmas = estimate_sigmas([annotator(seed, 600) for seed in range(people)], BONES)
    for name, sigma in TRUE.items():
        # The standard error of a root of a mean of 600 squares is below 3 %.
        assert sigmas[name].value == pytest.approx(sigma, rel=0.1)
        assert sigmas[name].objects == 600


def test_what_is_not_repeated_keeps_its_sigma() -> None:
    sigmas = estimate_sigmas([annotator(0, 50), annotator(1, 50, ("nose",))], BONES)
    assert set(sigmas) == {"nose"}
    assert with_sigmas(BONES, sigmas).sigmas[1] == 0.5
    assert with_sigmas(BONES, sigmas).sigmas[0] != 0.5


def test_one_annotator_is_not_enough() -> None:
    with pytest.raises(UserError, match="annotated twice"):
        estimate_sigmas([annotator(0, 5)], BONES)


def test_identical_points_leave_the_sigma() -> None:
    one = annotator(0, 5)
    sigmas = estimate_sigmas([one, replace(one)], BONES)
    assert with_sigmas(BONES, sigmas) == BONES


@pytest.mark.parametrize(
    ("declared", "keypoints", "links"),
    [
        (
            {"keypoints": ["tail", "neck", "nose"], "skeleton": [[3, 2], [2, 1]]},
            ("tail", "neck", "nose"),
            (("nose", "neck"), ("neck", "tail")),
        ),
        ({}, ("1", "2", "3"), ()),
    ],
)
def test_what_a_coco_category_declares(
    tmp_path: Path,
    declared: dict[str, Any],
    keypoints: tuple[str, ...],
    links: tuple[tuple[str, str], ...],
) -> None:
    """In its order and with its links, also of a keypoint that is labelled nowhere."""
    row = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9], "iscrowd": 0}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "annotations": [row | {"keypoints": [3, 3, 2, 0, 0, 0, 5, 5, 2]}],
        "categories": [{"id": 7, "name": "cat"} | declared],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    annotations = read_annotations(path)
    skeleton = infer_skeleton([annotations], "s")
    assert (skeleton.classes, skeleton.keypoints, skeleton.links) == (("cat",), keypoints, links)
    (cat,) = via.build_instances(annotations, via.LabelRules(), skeleton).images[0].instances
    assert cat.keypoints == ((3, 3, 2), (0, 0, 0), (5, 5, 2))
