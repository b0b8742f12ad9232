"""COCO json, sound and as VIA exports it, as VIA records."""

from pathlib import Path
from typing import Any

import pytest

from roilab import via
from roilab.errors import UserError
from roilab.skeleton import Skeleton

from .test_read import load

BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (), (0.1, 0.1))
RING = [1, 1, 9, 1, 9, 9]


def coco(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    rows = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0} | row
        for number, row in enumerate(annotations, start=1)
    ]
    return {
        "info": {},
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 50, "height": 40},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "annotations": rows,
        "categories": [
            {"id": 1, "name": "person", "keypoints": ["head", "hand"]},
            {"id": 2, "name": "car"},
        ],
    } | changes


def test_outlines_and_boxes(tmp_path: Path) -> None:
    annotations = load(
        tmp_path, coco({"segmentation": [RING]}, {"category_id": 2, "segmentation": []})
    )
    assert annotations.container is via.Container.COCO
    a, b = annotations.images
    assert (a.filename, b.filename, b.regions) == ("a.jpg", "b.jpg", ())
    assert a.attributes == {"width": "50", "height": "40"}
    shapes = [via.Polygon((1, 9, 9), (1, 1, 9)), via.Rect(1, 1, 8, 8)]
    assert [region.shape for region in a.regions] == shapes
    assert [region.attributes for region in a.regions] == [{"class": "person"}, {"class": "car"}]
    assert annotations.problems == ()
    assert via.build_instances(annotations).classes == ("car", "person")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2, 3], []),
        ([None, None, 3], []),
        ([7, 7, 3], ["2 annotations have the id 7: all are read"]),
        ([7, 3, 7, 3, 7], ["3 annotations have the id 7, and 1 more ids repeat: all are read"]),
    ],
)
def test_ids_of_annotations_that_repeat_are_warned_of(
    tmp_path: Path, ids: list[int | None], expected: list[str]
) -> None:
    annotations = load(tmp_path, coco(*({"id": number} for number in ids)))
    assert [problem.message for problem in annotations.problems] == expected
    assert {problem.severity for problem in annotations.problems} <= {"warning"}
    assert len(annotations.images[0].regions) == len(ids)


@pytest.mark.parametrize("ids", [(1, 2), (7, 7)])
def test_an_outline_that_repeats_is_warned_of(tmp_path: Path, ids: tuple[int, int]) -> None:
    rows = ({"id": number, "segmentation": [RING]} for number in ids)
    annotations = load(tmp_path, coco(*rows, {"segmentation": [RING], "category_id": 2}))
    (problem,) = (
        problem for problem in annotations.problems if "has the outline" in problem.message
    )
    assert problem.severity == "warning"
    assert f"annotation {ids[1]} has the outline and the category of" in problem.message


def test_parts_and_keypoints_are_one_instance(tmp_path: Path) -> None:
    other = [21, 1, 29, 1, 29, 9]
    rows = (
        {"segmentation": [RING, other], "keypoints": [3, 4, 1, 0, 0, 0]},
        {"segmentation": [RING], "keypoints": [5, 5, 2, 6, 6, 2]},
        {"segmentation": [], "bbox": [], "keypoints": [7, 7, 2, 0, 0, 0]},
    )
    annotations = load(tmp_path, coco(*rows))
    assert annotations.problems == ()
    one, two, three = via.build_instances(annotations, skeleton=BONES).images[0].instances
    ring = via.Polygon((1, 9, 9), (1, 1, 9))
    parts = (ring, via.Polygon((21, 29, 29), (1, 1, 9)))
    assert one == via.Instance("person", parts, ((3, 4, 1), (0, 0, 0)), (0, 1, 2))
    assert two == via.Instance("person", (ring,), ((5, 5, 2), (6, 6, 2)), (3, 4, 5))
    assert three == via.Instance("person", (), ((7, 7, 2), (0, 0, 0)), (6,))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"category_id": 9}, "unknown category 9"),
        ({"image_id": 9}, "image 9, which the file does not have"),
        ({"bbox": [], "segmentation": []}, "no outline"),
        ({"keypoints": [1, 2, 2]}, "3 numbers for keypoints"),
        ({"keypoints": [1, 2, 7, 0, 0, 0]}, "visibility of 'head' is 7"),
        ({"segmentation": [[1, 1, 2]]}, "numbers in pairs"),
        ({"segmentation": {"size": [4, 4], "counts": "x"}}, "run-length"),
        ({"segmentation": [["a", 1, 2, 3, 4, 5]]}, "numbers in pairs"),
    ],
)
def test_what_is_left_out_is_an_error(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    annotations = load(tmp_path, coco({"segmentation": [RING]}, row))
    (problem,) = annotations.problems
    assert problem.severity == "error"
    assert message in problem.message
    assert annotations.images[0].regions[0].shape == via.Polygon((1, 9, 9), (1, 1, 9))


def test_repairs(tmp_path: Path) -> None:
    """A flat list, ids as text."""
    data = coco({"segmentation": RING, "image_id": "1", "category_id": "1"})
    assert load(tmp_path, data).images[0].regions[0].shape == via.Polygon((1, 9, 9), (1, 1, 9))


def test_crowds_are_no_objects(tmp_path: Path) -> None:
    rows = ({"segmentation": [RING]}, {"iscrowd": 1}, {"iscrowd": 1, "category_id": 2})
    annotations = load(tmp_path, coco(*rows))
    assert annotations.problems == ()
    image = via.build_instances(annotations).images[0]
    assert [instance.label for instance in image.instances] == ["person"]
    assert [crowd.label for crowd in image.crowds] == ["person", "car"]
    rules = via.LabelRules(class_map={"person": "human", "car": None})
    image = via.build_instances(annotations, rules).images[0]
    assert [instance.label for instance in (*image.instances, *image.crowds)] == ["human", "human"]


def test_images_of_one_id(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    annotations = load(tmp_path, coco({"segmentation": [RING]}, images=images))
    assert annotations.images == ()
    assert [(problem.severity, problem.image) for problem in annotations.problems] == [
        ("error", "a.jpg"),
        ("error", "b.jpg"),
    ]


def test_a_score_is_kept(tmp_path: Path) -> None:
    annotations = load(tmp_path, coco({"segmentation": [RING], "score": 0.5}))
    assert annotations.images[0].regions[0].attributes["score"] == "0.5"
    assert via.build_instances(annotations).classes == ("person",)


VIA = {"description": "VIA project exported to COCO format using VGG Image Annotator"}


def by_via(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    categories = [
        {"supercategory": "kind", "id": 1, "name": "cat"},
        {"supercategory": "kind", "id": 2, "name": "dog"},
    ]
    data = {"info": VIA, "categories": categories, "images": [{"id": 0, "file_name": "a.jpg"}]}
    return data | {"annotations": [{"image_id": "0"} | row for row in annotations]} | changes


class TestViaCoco:
    def test_rows_that_repeat_a_region(self, tmp_path: Path) -> None:
        row = {"id": 0, "category_id": 2, "segmentation": RING, "bbox": [1, 1, 8, 8], "area": 64}
        annotations = load(tmp_path, by_via(row, row, row))
        assert annotations.container is via.Container.VIA_COCO
        (region,) = annotations.images[0].regions
        assert region.shape == via.Polygon((1, 9, 9), (1, 1, 9))
        assert region.attributes == {"kind": "dog"}
        (problem,) = annotations.problems
        assert (problem.severity, problem.message[:6]) == ("warning", "2 rows")

    @pytest.mark.parametrize("ids", [{}, {"id": 1}])
    def test_rows_of_one_id_are_regions_where_they_differ(
        self, tmp_path: Path, ids: dict[str, Any]
    ) -> None:
        rows = [
            {"category_id": 1, "segmentation": [RING], "bbox": [1, 1, 8, 8]},
            {"category_id": 1, "segmentation": [[20, 1, 29, 1, 29, 9]], "bbox": [20, 1, 9, 8]},
            {"category_id": 1, "segmentation": [], "bbox": [30, 1, 9, 8]},
        ]
        annotations = load(tmp_path, by_via(*(row | ids for row in rows), rows[0] | ids))
        assert len(annotations.images[0].regions) == 3
        (problem,) = annotations.problems
        assert problem.message[:13] == "1 row repeats"

    def test_empty_names(self, tmp_path: Path) -> None:
        categories = [{"supercategory": "kind", "id": n, "name": ""} for n in (1, 2)] * 2
        row = {"id": 0, "category_id": 2, "segmentation": [RING]}
        annotations = load(tmp_path, by_via(row, categories=categories))
        assert annotations.images[0].regions[0].attributes["kind"] != ""
        assert [problem.severity for problem in annotations.problems] == ["warning"]

    @pytest.mark.parametrize("keypoints", [[3, 4, 2], [3, 4, 0], [3, 4]])
    def test_a_point_is_seen_whatever_its_third_number(
        self, tmp_path: Path, keypoints: list[int]
    ) -> None:
        row = {"id": 0, "category_id": 1, "segmentation": [[]], "area": [], "bbox": []}
        annotations = load(tmp_path, by_via(row | {"keypoints": keypoints, "num_keypoints": 1}))
        (region,) = annotations.images[0].regions
        assert region.shape == via.Point(3, 4)
        assert annotations.problems == ()

    @pytest.mark.parametrize(
        ("names", "lost"), [(("cat",), False), (("cat", "cat"), False), (("cat", "dog"), True)]
    )
    def test_categories_without_ids(
        self, tmp_path: Path, names: tuple[str, ...], lost: bool
    ) -> None:
        """What VIA writes where every file name begins with a digit."""
        categories = [{"supercategory": "kind", "id": None, "name": name} for name in names]
        row = {"id": 0, "category_id": None, "segmentation": [RING]}
        annotations = load(tmp_path, by_via(row, categories=categories))
        assert annotations.images[0].regions[0].attributes == ({} if lost else {"kind": "cat"})
        assert [problem.severity for problem in annotations.problems] == ["warning"] * lost
        result = via.build_instances(annotations, via.LabelRules(default_class="cat"))
        assert len(result.images[0].instances) == 1
        result = via.build_instances(annotations, via.LabelRules(class_attribute="kind"))
        assert sum(problem.severity == "error" for problem in result.problems) == lost

    def test_images_that_cannot_be_told_apart(self, tmp_path: Path) -> None:
        images = [{"id": 1, "file_name": "1a.jpg"}, {"id": 1, "file_name": "1b.jpg"}]
        row = {"id": 0, "image_id": 1, "category_id": 1, "segmentation": [RING]}
        annotations = load(tmp_path, by_via(row, row, row | {"id": 1}, images=images))
        assert annotations.images == ()
        errors = [problem for problem in annotations.problems if problem.severity == "error"]
        assert all("save the project" in error.remedy for error in errors)
        assert all("the 2 annotations" in error.message for error in errors)
        assert [error.image for error in errors] == ["1a.jpg", "1b.jpg"]


def messages(annotations: via.Annotations) -> str:
    return "\n".join(f"{problem.severity}: {problem.message}" for problem in annotations.problems)


def test_categories_of_one_id_and_two_names_are_no_class(tmp_path: Path) -> None:
    rows = ({"segmentation": [RING]}, {"category_id": 2, "segmentation": [RING]})
    categories = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "car"}]
    annotations = load(tmp_path, coco(*rows, categories=categories))
    assert "error: 2 categories have the id 1: cat, dog; it is unclear" in messages(annotations)
    assert "of the 1 annotations" in messages(annotations)
    labels = [instance.label for instance in via.build_instances(annotations).images[0].instances]
    assert labels == ["car"]
    # The same category twice is no question.
    annotations = load(tmp_path, coco(*rows, categories=[*categories[:1] * 2, categories[2]]))
    assert len(via.build_instances(annotations).images[0].instances) == 2
    assert "the id 1" not in messages(annotations)


def test_whole_numbers_are_the_same_ids_with_a_point(tmp_path: Path) -> None:
    data = coco({"image_id": 1.0, "category_id": 1.0, "segmentation": [RING]})
    data["images"][1]["id"] = 2.0
    annotations = load(tmp_path, data)
    assert annotations.problems == ()
    assert [image.coco.id for image in annotations.images if image.coco is not None] == [1, 2]
    labels = [instance.label for instance in via.build_instances(annotations).images[0].instances]
    assert labels == ["person"]


def person(**changes: Any) -> list[dict[str, Any]]:
    return [{"id": 1, "name": "person", "keypoints": ["head", "hand"]} | changes]


AREA = "warning: the area of 1 annotation is no positive number"
LINK = "warning: 1 link of the category 'person' left out"
RING_IS = "error: annotation 1: a ring of its segmentation is"


@pytest.mark.parametrize(
    ("row", "category", "message"),
    [
        *(({"area": area}, {}, AREA) for area in (0, -1, "x", True)),
        *(({}, {"skeleton": links}, LINK) for links in ([[0, 1], [1, 2]], [["head", "hand"]], [7])),
        *(({}, {"skeleton": links}, "") for links in ([[1, 2]], [[1.0, 2.0]])),
        ({"keypoints": [3, 3, 2, 4, 4, 2]}, {"keypoints": ["head", "head"]},
         "error: the category 'person' names keypoints twice: head"),
        # In the words of the file.
        *(({"segmentation": [ring, RING]}, {}, RING_IS)
          for ring in (["1", "1", "9", "1", "9", "9"], [1, 1, 9, 1, 9], [None] * 6)),
    ],
)  # fmt: skip
def test_values_that_are_not_sound(
    tmp_path: Path, row: dict[str, Any], category: dict[str, Any], message: str
) -> None:
    data = coco({"segmentation": [RING]} | row, categories=person(**category))
    annotations = load(tmp_path, data)
    assert messages(annotations)[: len(message)] == message
    assert bool(annotations.problems) == bool(message)
    (region,) = annotations.images[0].regions[:1]
    assert region.coco is not None
    assert region.coco.area is None
    links = category.get("skeleton", [])
    sound = [(annotations.categories[0].keypoints)] if links and [1, 2] in links else []
    assert list(annotations.categories[0].links) == sound


def test_keypoint_names_that_are_no_list_are_none(tmp_path: Path) -> None:
    category = {"id": 1, "name": "person", "keypoints": "head"}
    row = {"segmentation": [RING], "keypoints": [3, 3, 2, 4, 4, 2]}
    annotations = load(tmp_path, coco(row, categories=[category]))
    assert annotations.categories[0].keypoints == ("1", "2")
    (one,) = via.build_instances(annotations, skeleton=BONES).images[0].instances
    assert one.keypoints == ((3, 3, 2), (4, 4, 2))


def test_an_object_needs_a_keypoint_of_the_skeleton(tmp_path: Path) -> None:
    category = {"id": 1, "name": "person", "keypoints": ["head", "tail"]}
    alone = {"bbox": [], "keypoints": [0, 0, 0, 5, 5, 2]}
    annotations = load(
        tmp_path, coco(alone, {"keypoints": [1, 1, 2, 0, 0, 0]}, categories=[category])
    )
    labelled = via.build_instances(annotations, skeleton=BONES)
    assert [instance.keypoints for instance in labelled.images[0].instances] == [
        ((1, 1, 2), (0, 0, 0))
    ]
    assert any(
        "none of which skeleton 'bones' has" in problem.message for problem in labelled.problems
    )


def test_a_file_without_annotations_is_named(tmp_path: Path) -> None:
    data = coco()
    del data["annotations"]
    with pytest.raises(UserError, match="a COCO file without annotations"):
        load(tmp_path, data)
    assert len(load(tmp_path, data | {"annotations": []}).images) == 2
