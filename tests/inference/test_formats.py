"""Predictions as data: annotations to correct and to train with are what was predicted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from roilab import via
from roilab.curation.merge import merge_annotations
from roilab.data.mask_to_polygons import read_annotations
from roilab.engine.run_folder import Run
from roilab.inference import Prediction, predictions_to_coco, to_json, via_annotations, via_record
from roilab.inference.formats import RunDescription, attribute_names
from roilab.skeleton import Skeleton
from roilab.via.records import TAGS

BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (), (0.1, 0.1))
CLASSES = ("car", "person")
NAMES = {role: role for role in TAGS}
RUN = RunDescription("run", CLASSES, (500, 3), BONES, NAMES, 0.0)


def prediction(*scores: float, masks: bool = True) -> Prediction:
    """Persons on the even places, cars on the odd ones."""
    count = len(scores)
    drawn = np.zeros((count, 40, 60), dtype=bool)
    keypoints = np.full((count, 2, 3), np.nan)
    for index in range(count):
        drawn[index, 5:25, 3 + index : 23 + index] = True
        drawn[index, 30:36, 40:50] = True
        if index % 2 == 0:
            keypoints[index] = [[10.5, 12.5, 0.9], [20.5, 22.5, 0.01]]
    boxes = np.array([[3.0 + index, 5, 50, 36] for index in range(count)]).reshape(-1, 4)
    labels = tuple(CLASSES[(index + 1) % 2] for index in range(count))
    return Prediction(60, 40, boxes, np.array(scores), labels, drawn if masks else None, keypoints)


@pytest.mark.parametrize("kind", ["via-json", "via-csv"])
@pytest.mark.parametrize("skeleton", [None, BONES])
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("label_name", ["class", "Label", "kind"])
def test_without_tags_the_names_say_the_same(
    tmp_path: Path, kind: str, skeleton: Skeleton | None, masks: bool, label_name: str
) -> None:
    """Two persons in an image: without the tie, one of them had two heads."""
    run = replace(RUN, skeleton=skeleton, attributes={**NAMES, "class": label_name})
    scores = ((0.9, 0.6, 0.5, 0.25), (0.75, 0.5), ())
    records = []
    for size, row in enumerate(scores):
        records.append(via_record(f"{size}.jpg", size, prediction(*row, masks=masks), run))
    project = via_annotations(records, run, "")
    via.write_project(tmp_path / "project", project)
    via.WRITERS[kind](tmp_path / "export", project)
    tagged = via.build_instances(read_annotations(tmp_path / "project"), skeleton=skeleton)
    named = via.build_instances(read_annotations(tmp_path / "export"), skeleton=skeleton)
    assert [item.instances for item in named.images] == [item.instances for item in tagged.images]
    assert named.classes == tagged.classes == ("car", "person")
    assert {problem.severity for problem in named.problems} <= {"note"}


@pytest.mark.parametrize("kind", via.WRITERS)
def test_what_was_predicted_is_what_is_labelled(tmp_path: Path, kind: str) -> None:
    predicted = prediction(0.9, 0.6)
    record = via_record("a.jpg", 123, predicted, RUN)
    path = tmp_path / "via"
    via.WRITERS[kind](path, via_annotations([record], RUN, ""))
    # A JSON or a CSV has no declarations, and with them no tags: the names say it.
    labelled = via.build_instances(read_annotations(path, strict=True), skeleton=BONES)
    person, car = labelled.images[0].instances
    assert (person.label, car.label) == ("person", "car")
    # The keypoint without a peak in its heat map is not labelled; frames are VIA's.
    assert person.keypoints == ((10, 12, 2), (0, 0, 0))
    for index, instance in enumerate((person, car)):
        rings = [[v for point in ring for v in point] for ring in instance.polygons]
        mask = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(rings, 40, 60)))
        assert predicted.masks is not None
        assert (mask.astype(bool) == predicted.masks[index]).all()


def test_without_masks_there_are_boxes() -> None:
    record = via_record("a.jpg", 1, prediction(0.9, masks=False), replace(RUN, skeleton=None))
    (region,) = record.regions
    assert region.shape == via.Rect(3, 5, 47, 31)
    assert region.attributes == {"class": "person", "instance": "1", "score": "0.900"}


def test_the_least_certain_image_comes_first() -> None:
    scores = {"sure": (0.9, 0.8), "empty": (), "unsure": (0.99, 0.31), "middle": (0.5,)}
    records = [via_record(name, 1, prediction(*values), RUN) for name, values in scores.items()]
    annotations = via_annotations(records, RUN, "")
    assert [image.filename for image in annotations.images] == ["unsure", "middle", "sure", "empty"]


def test_coco(tmp_path: Path) -> None:
    predicted = prediction(0.9, 0.6)
    rows = [to_json("a.jpg", predicted), to_json("b.jpg", prediction())]
    data = predictions_to_coco(rows, RUN)
    assert [row["category_id"] for row in data["annotations"]] == [3, 500]
    names = {category["name"]: category["id"] for category in data["categories"]}
    assert names == dict(zip(CLASSES, (500, 3), strict=True))
    assert [row["score"] for row in data["annotations"]] == pytest.approx([0.9, 0.6])
    assert data["annotations"][0]["area"] == 20 * 20 + 6 * 10
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    labelled = via.build_instances(read_annotations(path, strict=True), skeleton=BONES)
    assert [len(image.instances) for image in labelled.images] == [2, 0]
    person, car = labelled.images[0].instances
    assert person.keypoints == ((10, 12, 2), (0, 0, 0))
    assert car.keypoints is None
    assert len(person.polygons) == 2


def test_filled_holes_are_counted() -> None:
    predicted = prediction(0.9, 0.6)
    assert predicted.masks is not None
    predicted.masks[0, 10:12, 10:13] = False
    run = replace(RUN, skeleton=None)
    record = via_record("a.jpg", 1, predicted, run)
    assert record.filled == (6,)
    (problem,) = via_annotations([record], run, "").problems
    assert problem.severity == "warning"
    assert problem.message.startswith("holes are filled (masks: 1, pixels: 6), ")
    whole = via_record("a.jpg", 1, prediction(0.9), run)
    assert via_annotations([whole], run, "").problems == ()


@pytest.mark.parametrize(
    ("train", "names"),
    [
        (None, {}),
        ("class_attribute: null, files: a", {}),
        ("class_attribute: name, instance_attribute: id", {"class": "name", "instance": "id"}),
        ("class_attribute: instance", {"class": "instance", "instance": "predicted instance"}),
    ],
)
def test_attributes_are_called_as_in_the_training_data(
    tmp_path: Path, train: str | None, names: dict[str, str]
) -> None:
    run = Run(tmp_path)
    config = "model: {}" if train is None else f"data: {{train: {{{train}}}}}"
    run.config_file.write_text(config, encoding="utf-8")
    roles = ("class", "keypoint", "instance", "visibility", "score")
    assert attribute_names(run) == {role: role for role in roles} | names


@pytest.mark.parametrize("named", [True, False])
def test_corrected_predictions_join_what_was_trained_with(tmp_path: Path, named: bool) -> None:
    """The class of the training data is called `name`, and the config says so or it was found."""
    name = via.Attribute("name", "dropdown", "who", {"1": "person", "2": "car"})
    regions = (
        via.Region(0, via.Polygon((5, 30, 30), (5, 5, 40)), {"name": "1"}),
        via.Region(1, via.Rect(40, 10, 24, 20), {"name": "2"}),
    )
    image = via.ImageRecord("old.jpg9", "old.jpg", 9, regions)
    trained = via.Annotations("", via.Container.VIA2_PROJECT, (image,), {"name": name}, {})
    via.write_project(tmp_path / "train.json", trained)
    run = Run(tmp_path)
    run.config_file.write_text(
        f"data: {{train: {{class_attribute: {'name' if named else 'null'}}}}}", encoding="utf-8"
    )
    description = replace(RUN, attributes=attribute_names(run))
    record = via_record("new.jpg", 1, prediction(0.9, 0.6), description)
    assert ("name" in record.regions[0].attributes) is named
    predicted = via_annotations([record], description, "")
    via.write_project(tmp_path / "new.json", predicted)
    files = [read_annotations(tmp_path / name) for name in ("train.json", "new.json")]
    via.write_project(tmp_path / "more.json", merge_annotations(files, ""))
    corrected = read_annotations(tmp_path / "more.json", strict=True)
    labelled = via.build_instances(corrected, skeleton=BONES)
    assert [problem for problem in labelled.problems if problem.severity == "error"] == []
    labels = [[instance.label for instance in image.instances] for image in labelled.images]
    assert labels == [["person", "car"], ["person", "car"]]
    assert labelled.images[1].instances[0].keypoints == ((10, 12, 2), (0, 0, 0))
