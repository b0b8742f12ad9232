"""Remedies of joining, dividing and proposing are followed, and what they are for is gone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from roilab.data.merge import merge
from roilab.data.propose import estimate_sigmas, propose
from roilab.data.split import split
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via import (
    Annotations,
    Attribute,
    Container,
    ImageRecord,
    LabelRules,
    Point,
    Rect,
    Region,
    Shape,
    Value,
    label,
    write_json,
)

BONES = Skeleton("bones", ("cat",), ("nose", "tail"), (), (), (0.1, 0.1))
AS_FOUND = LabelRules()
Drawn = tuple[Shape, Mapping[str, Value]]


def box(x: int = 0, **values: Value) -> Drawn:
    return Rect(x, 0, 20, 20), values


def dot(x: int = 1, y: int = 1, **values: Value) -> Drawn:
    return Point(x, y), values


def source(
    *drawn: Drawn,
    name: str = "a.jpg",
    size: int | None = 1,
    path: str = "",
    declared: Mapping[str, Attribute] | None = None,
) -> Annotations:
    regions = tuple(Region(n, *each) for n, each in enumerate(drawn))
    image = ImageRecord(f"{name}{size}", name, size, regions)
    kind = Container.VIA2_PROJECT
    return Annotations(f"{name}.json", kind, (image,), declared or {}, {}, path)


def joined(
    files: Sequence[Annotations], rules: LabelRules = AS_FOUND, skeleton: Skeleton | None = None
) -> Callable[[], dict[str, str]]:
    def run() -> dict[str, str]:
        problems = merge(files, "m", rules, skeleton).problems
        return {each.message: each.remedy for each in problems if each.severity != "note"}

    return run


def proposed(*files: Annotations, attribute: str | None = None) -> Callable[[], dict[str, str]]:
    return lambda: {"": propose(files, "s", attribute).name}


def sigmas(*files: Annotations) -> Callable[[], dict[str, str]]:
    sets = [label(each, skeleton=BONES) for each in files]
    return lambda: dict.fromkeys(estimate_sigmas(sets, BONES), "")


def divided(count: int, share: float) -> Callable[[], dict[str, str]]:
    groups: dict[str, list[str]] = {str(n): [] for n in range(count)}
    return lambda: dict.fromkeys(split(groups, share, 0), "")


KNOWN = source(box(kind="cat"))
OTHER = source(box(a="cat", b="dog"), name="b.jpg")
RENAMED = source(box(kind="cat", b="dog"), name="b.jpg")
TIED = source(box(kind="cat", id="1"), dot(part="nose", id="1"))
IDS = {n: Attribute("kind", "radio", "", {"0": n}) for n in ("cat", "dog")}
CHECKBOX = {"kind": Attribute("kind", "checkbox", "", {"cat": "cat"})}
DROPDOWN = {"kind": Attribute("kind", "dropdown", "", {"cat": "cat"})}
POINTS = source(box(kind="cat"), dot(part="nose", other="x"))

CASES: list[tuple[str, str, Callable[[], object], Callable[[], object]]] = [
    (
        "cannot tell which attribute is the class",
        "give class_attribute",
        joined([KNOWN, OTHER]),
        joined([KNOWN, OTHER], LabelRules(class_attribute="a")),
    ),
    (
        "cannot tell which attribute is the class",
        "rename the attribute of this file to 'kind'",
        joined([KNOWN, OTHER]),
        joined([KNOWN, RENAMED]),
    ),
    (
        "the attribute 'id' is the class of one file and the instance of another",
        "rename it",
        joined([source(box(id="cat"), name="b.jpg"), TIED], skeleton=BONES),
        joined([source(box(kind="cat"), name="b.jpg"), TIED], skeleton=BONES),
    ),
    (
        "'class' would be 'kind', as in the first file, but that is another attribute",
        "rename 'kind' in this file",
        joined(
            [KNOWN, source(box(**{"class": "cat", "kind": "x"}), name="b.jpg")],
            LabelRules(class_attribute="class"),
        ),
        joined(
            [KNOWN, source(box(**{"class": "cat", "sort": "x"}), name="b.jpg")],
            LabelRules(class_attribute="class"),
        ),
    ),
    (
        "annotated differently in a.jpg.json (1 regions) and here (0 regions): the first is kept",
        "remove one of the two",
        joined([KNOWN, source()]),
        joined([KNOWN]),
    ),
    (
        "annotated differently in a.jpg.json (1 regions) and here (0 regions): the first is kept",
        "rename the image",
        joined([KNOWN, source()]),
        joined([KNOWN, source(name="b.jpg")]),
    ),
    (
        "the options of 'kind' have different meanings: they are named by these",
        "the same in all files",
        joined(
            [
                source(box(kind="0"), declared={"kind": IDS["cat"]}),
                source(box(kind="0"), name="b.jpg", declared={"kind": IDS["dog"]}),
            ]
        ),
        joined(
            [
                source(box(kind="0"), declared={"kind": IDS["cat"]}),
                source(box(kind="0"), name="b.jpg", declared={"kind": IDS["cat"]}),
            ]
        ),
    ),
    (
        "'kind' is a checkbox in one file and a dropdown in another",
        "declare it alike",
        joined(
            [
                source(box(kind=("cat",)), declared=CHECKBOX),
                source(box(kind="cat"), name="b.jpg", declared=DROPDOWN),
            ]
        ),
        joined(
            [
                source(box(kind="cat"), declared=DROPDOWN),
                source(box(kind="cat"), name="b.jpg", declared=DROPDOWN),
            ]
        ),
    ),
    (
        "its size is not stated, and 2 images of other sizes have its name",
        "remove it",
        joined([source(), source(size=2), source(size=None)]),
        joined([source(), source(size=2)]),
    ),
    (
        "the files have no points with names",
        "give the points such an attribute",
        proposed(source(box(kind="cat"), dot())),
        proposed(source(box(kind="cat"), dot(part="nose"))),
    ),
    (
        "several attributes could name the points",
        "give --keypoint-attribute",
        proposed(POINTS),
        proposed(POINTS, attribute="part"),
    ),
    (
        "no point has the attribute 'sort'",
        "give another --keypoint-attribute",
        proposed(TIED, attribute="sort"),
        proposed(TIED, attribute="part"),
    ),
    (
        "no point has the attribute 'sort'",
        "leave it out",
        proposed(TIED, attribute="sort"),
        proposed(TIED),
    ),
    (
        "no keypoint of any object is annotated twice",
        "the file of each person",
        sigmas(TIED),
        sigmas(TIED, source(box(kind="cat", id="1"), dot(2, 1, part="nose", id="1"))),
    ),
    ("there is nothing to divide", "annotate more", divided(1, 0.5), divided(2, 0.5)),
    ("a part needs a share", "such as 0.8", divided(5, 8), divided(5, 0.8)),
]


def said_of(run: Callable[[], object]) -> dict[str, str | None]:
    try:
        result = run()
    except UserError as error:
        return {error.message: error.remedy}
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(("message", "remedy", "before", "after"), CASES)
def test_followed(
    message: str, remedy: str, before: Callable[[], object], after: Callable[[], object]
) -> None:
    said = {text: way for text, way in said_of(before).items() if message in text}
    assert said
    assert all(remedy in (way or "") for way in said.values())
    assert not any(message in text for text in said_of(after))
    after()  # and no other error


def test_two_images_that_via_cannot_tell_apart(tmp_path: Path) -> None:
    whole = source(box(kind="cat"))
    twice = replace(whole, images=whole.images * 2)
    with pytest.raises(UserError, match="remove one of the two entries"):
        write_json(tmp_path / "a.json", twice)
    assert write_json(tmp_path / "a.json", whole) == ()
    other = replace(whole.images[0], filename="b.jpg")
    assert write_json(tmp_path / "a.json", replace(whole, images=(*whole.images, other))) == ()
