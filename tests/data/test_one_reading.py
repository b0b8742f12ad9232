"""Check, stats and a data set count the same in one file; tests/cli/test_counts.py has more."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_utils

from roilab import via
from roilab.curation.check import check_annotations
from roilab.curation.stats import count_annotations
from roilab.curation.to_coco import annotations_to_coco
from roilab.data.dataset import load_dataset
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images, fit_all_instances
from roilab.errors import UserError
from roilab.image_files import ImageFolder
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths

Counts = dict[str, Any]


def counted(
    path: Path,
    folder: Path,
    default: str | None,
    skeleton: str | None,
    class_map: Mapping[str, str | None] | None = None,
) -> Counts:
    """The counts of a file, which are the same however it is read.

    Raises:
        UserError: of training; that of check is among its problems.
    """
    rules = via.LabelRules(default_class=default, class_map=class_map or {})
    bones = COCO_PERSON if skeleton else None
    annotations = read_annotations(path)
    images = ImageFolder(folder, default_path=annotations.default_path)
    (located,) = find_images([(annotations, images)])
    findings = check_annotations(annotations, located, rules, bones)
    options: Any = {"rules": rules, "skeleton": skeleton, "missing_images": "skip"}
    dataset = load_dataset(str(path), str(folder), **options)
    whole = via.build_instances(annotations, rules, bones)
    labelled = fit_all_instances(whole, located.places)
    stats = count_annotations([(annotations, labelled)], bones)
    rows = dataset.coco_json()
    names = {category["id"]: category["name"] for category in rows["categories"]}
    objects = [row for row in rows["annotations"] if not row["iscrowd"]]
    trained = {
        "images": len(dataset) + dataset.missing,
        "classes": dict(Counter(names[row["category_id"]] for row in objects)),
        "crowds": len(rows["annotations"]) - len(objects),
        "keypoints": sum(v > 0 for row in objects for v in row.get("keypoints", ())[2::3]),
    }
    # Those of images that are not there are counted by those that need no image.
    assert dataset.missing == 0
    left_out = sum(problem.message.startswith("left out:") for problem in findings.problems)
    assert dataset.outside == left_out
    checked = {
        "images": findings.images,
        "classes": dict(findings.classes),
        "crowds": findings.crowds,
        "keypoints": findings.keypoints,
    }
    assert checked == trained
    in_stats = {
        "images": stats.images,
        "classes": {name: of_class.instances for name, of_class in stats.classes.items()},
        "crowds": stats.crowds,
        "keypoints": sum(sum(counts[:2]) for counts in stats.keypoints.values()),
    }
    assert in_stats == trained
    return trained


def test_a_via_project(figures: FiguresPaths) -> None:
    folder = figures.train.parent
    without = counted(figures.train, folder, None, None)
    with_skeleton = counted(figures.train, folder, None, "coco_person")
    # Which parts are one object does not depend on whether its keypoints are read.
    assert without["classes"] == with_skeleton["classes"]
    assert with_skeleton["keypoints"] > 0


def test_a_coco_file(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    ring = [[1, 1, 9, 1, 9, 9]]
    person = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0}
    keypoints = [*[5, 5, 2] * 2, *[0, 0, 0] * 15]
    rows = [
        {"segmentation": ring, "keypoints": keypoints},
        {"segmentation": [*ring, [20, 1, 29, 1, 29, 9]]},
        {"segmentation": [[50, 1, 59, 1, 59, 9]]},
        {"segmentation": {"size": [30, 40], "counts": [40, 20, 1140]}, "iscrowd": 1},
        {"segmentation": [], "category_id": 2},
        {"segmentation": [[1, 1]], "category_id": 2},
    ]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [person | {"id": n} | row for n, row in enumerate(rows)],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_PERSON.keypoints)},
            {"id": 2, "name": "car"},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    counts = counted(path, tmp_path, None, "coco_person")
    assert counts == {"images": 1, "classes": {"person": 2, "car": 1}, "crowds": 1, "keypoints": 2}
    assert counted(path, tmp_path, None, None) == counts | {"keypoints": 0}


WIDTH, HEIGHT = 24, 16
numbers = st.integers(-8, 32)
rings = st.tuples(numbers, numbers, st.integers(0, 20), st.integers(0, 20)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1], b[0] + b[2], b[1] + b[3]]
)
runs = st.integers(0, HEIGHT * WIDTH).map(
    lambda n: {"size": [HEIGHT, WIDTH], "counts": [n, HEIGHT * WIDTH - n]}
)
compressed = runs.map(
    lambda mask: {
        "size": mask["size"],
        "counts": mask_utils.frPyObjects(mask, HEIGHT, WIDTH)["counts"].decode("ascii"),
    }
)
odd = st.sampled_from([None, 7, "x", [], {}, [1, 2], [None], {"size": [2, 2], "counts": [0, 4]}])
keypoint = st.one_of(
    st.just([0, 0, 0]), st.tuples(numbers, numbers, st.sampled_from([0, 1, 2, 3])).map(list)
)


def flat(lists: list[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]


rows = st.fixed_dictionaries(
    {"image_id": st.sampled_from([1, 2, 2.0, 9]), "category_id": st.sampled_from([1, 2, 3, 4, 9])},
    optional={
        "id": st.sampled_from([1, 2, "x"]),
        "segmentation": st.lists(rings, max_size=3) | runs | compressed | odd,
        "bbox": st.tuples(numbers, numbers, numbers, numbers).map(list) | odd,
        "area": st.sampled_from([0, 9, -1, "x"]),
        "iscrowd": st.sampled_from([0, 1, None]),
        "keypoints": st.lists(keypoint, min_size=2, max_size=3).map(flat) | odd,
    },
)
CATEGORIES = [
    {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": [[1, 2], [0, 1]]},
    {"id": 2, "name": "car"},
    {"id": 3, "name": "man", "keypoints": ["tail", "nose", "left_ear"]},
    {"id": 4, "name": "car "},
]
# Not a car into a person: the keypoints of cars have no names by which they could be read.
names = st.sampled_from([None, "person", "car", "new"])
maps = st.fixed_dictionaries(
    {}, optional={"person": names, "man": names, "car": st.sampled_from([None, "car", "new"])}
)


@given(st.lists(rows, max_size=6), maps, st.sampled_from([None, "coco_person"]))
@settings(max_examples=40, deadline=None)
def test_any_coco_file(
    images_folder: Path, rows: list[Counts], class_map: dict[str, str | None], skeleton: str | None
) -> None:
    """Random annotations, sound and not, with classes renamed, merged and dropped."""
    first = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    images = [first, {"id": 2, "file_name": "b.png"}]
    data = {"images": images, "annotations": rows, "categories": CATEGORIES}
    path = images_folder / "coco.json"
    path.write_text(json.dumps(data))
    mapped = {class_map.get(name, name) for name in ("person", "man", "car")}
    if skeleton and "person" not in mapped:
        with pytest.raises(UserError, match="no class of the data set has the keypoints"):
            counted(path, images_folder, None, skeleton, class_map)
        return
    counts = counted(path, images_folder, None, skeleton, class_map)
    # What is written as COCO is the same data set.
    rules = via.LabelRules(class_map=class_map)
    bones = COCO_PERSON if skeleton else None
    annotations = read_annotations(path)
    written, _ = annotations_to_coco(annotations, rules, bones, lambda _: (WIDTH, HEIGHT))
    path.write_text(json.dumps(written))
    if set(counts["classes"]) & {"person"} or skeleton is None:
        assert counted(path, images_folder, None, skeleton) == counts


@pytest.fixture(scope="module")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    for name in ("a.png", "b.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return folder
