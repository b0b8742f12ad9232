"""Files to take away hold what is shown, in the form of roilab predict."""

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roilab.app.results import Downloads
from roilab.app.uploads import Shot, png
from roilab.inference import Prediction
from roilab.inference.formats import RunDescription
from roilab.inference.sources import Frame
from roilab.skeleton import Skeleton
from roilab.via import build_instances, read
from roilab.via.records import TAGS

NAMES = {role: role for role in TAGS}
BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (), (0.1, 0.1))
KEYPOINTS = np.full((3, 2, 3), np.nan)
KEYPOINTS[0] = [[10.5, 12.5, 0.9], [20.5, 22.5, 0.4]]
MASKS = np.zeros((3, 40, 60), dtype=bool)
MASKS[:, 5:25, 3:23] = True
PREDICTION = Prediction(
    width=60,
    height=40,
    boxes=np.array([[3.0, 5, 23, 25]] * 3),
    scores=np.array([0.9, 0.6, 0.2]),
    labels=("person", "car", "car"),
    masks=MASKS,
    keypoints=KEYPOINTS,
).compressed()
RUN = RunDescription("demo", ("car", "person"), (1, 2), BONES, NAMES, 0.5, keypoint_threshold=0.1)


BLACK = np.zeros((40, 60, 3), np.uint8)


def shot(name: str, size: int) -> Shot:
    return Shot(name, size, name, lambda: (BLACK, 0.0))


SHOTS = [shot("a.jpg", 123), shot("b.jpg", 456)]
FILES = Downloads(RUN, SHOTS, {"a.jpg": PREDICTION, "b.jpg": PREDICTION}, {})


def test_every_file_has_the_instances_that_reach_the_threshold(tmp_path: Path) -> None:
    for threshold, count in ((0.0, 3), (0.5, 2), (0.6, 2), (0.95, 0)):
        files = replace(FILES, run=replace(RUN, threshold=threshold))
        data = json.loads(files.json())
        assert [len(image["instances"]) for image in data["images"]] == [count, count]
        assert data["threshold"] == threshold
        rows = list(csv.DictReader(io.StringIO(files.csv().decode())))
        assert [row["file_name"] for row in rows] == ["a.jpg"] * count + ["b.jpg"] * count
        assert len(json.loads(files.coco())["annotations"]) == 2 * count
        (tmp_path / "via").write_bytes(files.via())
        labelled = build_instances(read(tmp_path / "via", strict=True), skeleton=BONES)
        assert [len(image.instances) for image in labelled.images] == [count, count]


@pytest.mark.parametrize(("threshold", "seen"), [(0.0, 2), (0.4, 1), (0.89, 1), (0.9, 0)])
def test_keypoints_above_their_threshold_are_marked(
    tmp_path: Path, threshold: float, seen: int
) -> None:
    run = replace(RUN, keypoint_threshold=threshold)
    files = replace(FILES, run=run, shots=SHOTS[:1])
    person = json.loads(files.coco())["annotations"][0]
    assert person["num_keypoints"] == seen
    (tmp_path / "via").write_bytes(files.via())
    (image,) = build_instances(read(tmp_path / "via", strict=True), skeleton=BONES).images
    marked = image.instances[0].keypoints or ()
    assert sum(visibility > 0 for _, _, visibility in marked) == seen
    # The scores themselves are not touched.
    (row,) = json.loads(files.json())["images"]
    assert [point[2] for point in row["instances"][0]["keypoints"]] == pytest.approx([0.9, 0.4])


@pytest.mark.parametrize(
    "name", ["=1+1", "@SUM(A1)", "-1", "=\t1", "=\r1", 'a,"b"\nc', "\x1b[31mred"]
)
def test_names_are_kept_to_the_byte(tmp_path: Path, name: str) -> None:
    """Of files and of classes: what is written is read back, and is no table for people."""
    prediction = replace(PREDICTION, labels=(name, name, name))
    run = replace(RUN, classes=(name,), category_ids=(1,))
    files = Downloads(run, [shot(name, 5)], {name: prediction}, {})
    (image,) = json.loads(files.json())["images"]
    assert {image["file_name"], *(instance["class"] for instance in image["instances"])} == {name}
    for row in csv.DictReader(io.StringIO(files.csv().decode(), newline="")):
        assert row["file_name"] == row["class"] == name
    coco = json.loads(files.coco())
    assert [coco["images"][0]["file_name"], coco["categories"][0]["name"]] == [name, name]
    (tmp_path / "via").write_bytes(files.via())
    (record,) = read(tmp_path / "via").images
    assert record.filename == name
    assert {region.attributes["class"] for region in record.regions} == {name}


def test_via_knows_the_images_by_name_and_size(tmp_path: Path) -> None:
    (tmp_path / "via").write_bytes(FILES.via())
    images = read(tmp_path / "via", strict=True).images
    assert {(image.filename, image.size) for image in images} == {("a.jpg", 123), ("b.jpg", 456)}


def test_frames_have_their_places_and_tracks() -> None:
    frames = [Frame(BLACK, "walk.mp4", index=index, seconds=index / 25) for index in range(2)]
    shots = [
        replace(shot(f"walk_00000{frame.index}.jpg", 0), frame=frame, rate=Fraction(25))
        for frame in frames
    ]
    names = [shot.name for shot in shots]
    predictions, tracks = dict.fromkeys(names, PREDICTION), dict.fromkeys(names, (7, 3))
    files = Downloads(RUN, shots, predictions, tracks)
    data = json.loads(files.json())
    assert data["frames_per_second"] == 25
    assert "frames_per_second" not in json.loads(FILES.json())
    rows = data["images"]
    assert [(row["file_name"], row["frame"], row["time"]) for row in rows] == [
        ("walk.mp4", 0, 0.0),
        ("walk.mp4", 1, 0.04),
    ]
    assert [instance["track"] for instance in rows[1]["instances"]] == [7, 3]
    coco = json.loads(files.coco())
    assert [image["file_name"] for image in coco["images"]] == names


def test_a_png_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    assert (np.array(Image.open(io.BytesIO(png(picture)))) == picture).all()
