"""The sample set: what is annotated is what is drawn; it is written whole, and the same again."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from roilab import skeleton
from roilab.errors import UserError
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import write_figures
from roilab.synthetic.sample_set import region_attributes, sample_scene
from roilab.synthetic.scene import Figure, Scene, visible_rings
from roilab.via.labels.instances import LabelledSet, build_instances
from roilab.via.read import read
from roilab.via.records import Container, Point, Polygon

# pycocotools.mask.decode with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 128


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene("train", index, SIZE, seed=0) for index in range(50)]


@pytest.fixture(scope="module")
def figures(scenes: list[Scene]) -> list[Figure]:
    return [figure for drawn in scenes for figure in drawn.figures]


@pytest.fixture(scope="module")
def people(figures: list[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure.label == "person"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sets") / "figures"
    write_figures(out, train=20, val=3, size=SIZE)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rasterised(figure: Figure) -> np.ndarray:
    """The polygons as pycocotools rasterises them: (SIZE, SIZE) bool."""
    rings = [np.array(ring, float).ravel().tolist() for ring in figure.polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, SIZE, SIZE))).astype(bool)


def labelled(folder: Path, split: str) -> LabelledSet:
    return build_instances(read(folder / split / "via_project.json"), skeleton=COCO_PERSON)


# What is drawn


def test_there_is_of_everything(scenes: list[Scene], figures: list[Figure]) -> None:
    assert 1 <= sum(not drawn.figures for drawn in scenes) <= 10  # empty images
    assert max(len(drawn.figures) for drawn in scenes) <= 4
    assert sum(figure.label == "person" for figure in figures) >= 40
    assert sum(figure.label == "car" for figure in figures) >= 20
    on_edge = [np.pad(figure.mask[1:-1, 1:-1], 1) != figure.mask for figure in figures]
    assert 5 <= sum(bool(cut.any()) for cut in on_edge) < len(figures) / 2
    heights = [np.ptp(np.nonzero(figure.mask)[0]) for figure in figures if figure.front]
    assert max(heights) > 2 * min(heights)


def test_people_overlap(people: list[Figure]) -> None:
    """Of somebody the picture holds a joint which is on an object in front."""
    hidden = [sum(not visible for _, _, visible in person.keypoints.values()) for person in people]
    facing = [count for count, person in zip(hidden, people, strict=True) if person.front]
    assert sum(count >= 5 for count in facing) >= 3
    assert any(len(person.polygons) > 1 for person in people)  # cut in two by what is in front


def test_masks_do_not_overlap_and_are_not_tiny(scenes: list[Scene]) -> None:
    for drawn in scenes:
        masks = [figure.mask for figure in drawn.figures]
        assert all(mask.sum() > 60 for mask in masks)
        assert np.sum(masks, axis=0).max(initial=0) <= 1


def test_polygons_are_the_visible_outline(figures: list[Figure]) -> None:
    overlaps, areas = [], []
    for figure in figures:
        drawn = rasterised(figure)
        overlaps.append((drawn & figure.mask).sum() / (drawn | figure.mask).sum())
        areas.append(drawn.sum() / figure.mask.sum())
    assert np.mean(overlaps) > 0.94
    assert min(overlaps) > 0.75
    assert np.mean(areas) == pytest.approx(1, abs=0.015)  # half a pixel too small would give 0.9


def test_polygons_are_what_one_can_click(figures: list[Figure]) -> None:
    for figure in figures:
        assert figure.polygons
        for ring in figure.polygons:
            assert len(set(ring)) >= 3
            assert all(isinstance(value, int) for point in ring for value in point)
            assert np.min(ring) >= 0
            assert np.max(ring) <= SIZE


def test_outline_of_a_rectangle_is_its_edge() -> None:
    visible = np.zeros((SIZE * 3, SIZE * 3), bool)
    visible[30:90, 12:60] = True  # rows 10 to 30, columns 4 to 20 in pixels
    (ring,) = visible_rings(visible)
    assert set(ring) == {(4, 10), (20, 10), (20, 30), (4, 30)}


def test_keypoints_are_in_the_image_and_visible_ones_on_the_person(people: list[Figure]) -> None:
    on_person = []
    for person in people:
        assert set(person.keypoints) <= set(COCO_PERSON.keypoints)
        for x, y, visible in person.keypoints.values():
            assert 0 <= x < SIZE
            assert 0 <= y < SIZE
            if visible:
                on_person.append(person.mask[y, x])
    assert np.mean(on_person) > 0.98
    full = [person for person in people if len(person.keypoints) == len(COCO_PERSON.keypoints)]
    assert len(people) / 2 < len(full) < len(people)


def test_cars_have_no_keypoints(figures: list[Figure]) -> None:
    assert not any(figure.keypoints for figure in figures if figure.label == "car")


def test_left_and_right_follow_from_the_face(people: list[Figure]) -> None:
    """So that a mirrored picture with left and right swapped is one that could have been drawn."""
    faces = 0
    for person in people:
        _, _, nose = person.keypoints.get("nose", (0, 0, False))
        faces += nose
        assert person.front or not nose
        if {"left_shoulder", "right_shoulder"} <= set(person.keypoints):
            across = person.keypoints["left_shoulder"][0] - person.keypoints["right_shoulder"][0]
            assert across > 0 if person.front else across < 0
    assert faces > sum(bool(person.front) for person in people) / 2
    assert any(not person.front for person in people)


# What is written


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_figures(tmp_path / "again", train=20, val=3, size=SIZE)
    assert contents(tmp_path / "again") == contents(folder)


def test_other_seed_other_pictures_and_splits_differ(folder: Path, tmp_path: Path) -> None:
    write_figures(tmp_path / "other", train=3, val=3, size=SIZE, seed=1)
    images = [
        path.read_bytes()
        for root in (folder, tmp_path / "other")
        for split in ("train", "val")
        for path in sorted((root / split).glob("*.jpg"))[:3]
    ]
    assert len(set(images)) == len(images) == 12


def test_an_image_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    write_figures(tmp_path / "few", train=2, val=1, size=SIZE)
    few, many = contents(tmp_path / "few"), contents(folder)
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 3
    assert all(few[name] == many[name] for name in images)


@pytest.mark.parametrize("split", ["train", "val"])
def test_project_reads_back_without_problems(folder: Path, split: str) -> None:
    annotations = read(folder / split / "via_project.json")
    assert annotations.container is Container.VIA2_PROJECT
    assert annotations.region_attributes == region_attributes()
    assert not annotations.problems
    assert not labelled(folder, split).problems
    for record in annotations.images:
        path = folder / split / record.filename
        assert path.stat().st_size == record.size
        assert cv2.imread(str(path)).shape == (SIZE, SIZE, 3)


def test_project_says_what_was_drawn(folder: Path) -> None:
    images = labelled(folder, "train").images
    assert len(images) == 20
    for index, image in enumerate(images):
        assert image.record.filename == f"{index:06d}.jpg"
        drawn = sample_scene("train", index, SIZE, seed=0).figures
        assert len(image.instances) == len(drawn)
        for instance, figure in zip(image.instances, drawn, strict=True):
            assert instance.label == figure.label
            assert instance.polygons == figure.polygons
            points = dict(zip(COCO_PERSON.keypoints, instance.keypoints or (), strict=False))
            assert {name: point for name, point in points.items() if point[2]} == {
                name: (x, y, 1 + visible) for name, (x, y, visible) in figure.keypoints.items()
            }


def test_points_carry_no_class_and_outlines_no_keypoint(folder: Path) -> None:
    regions = [
        region
        for record in read(folder / "train" / "via_project.json").images
        for region in record.regions
    ]
    for region in regions:
        assert isinstance(region.shape, Point | Polygon)
        assert ("keypoint" in region.attributes) == isinstance(region.shape, Point)
        assert ("class" in region.attributes) == isinstance(region.shape, Polygon)


def test_skeleton_file_is_the_skeleton(folder: Path) -> None:
    assert skeleton.load_skeleton(folder / "skeleton.json") == COCO_PERSON


def test_cars_can_be_rare(scenes: list[Scene], folder: Path, tmp_path: Path) -> None:
    def labels(share: float) -> list[str]:
        drawn = [sample_scene("train", index, 64, 0, share) for index in range(60)]
        return [figure.label for scene in drawn for figure in scene.figures]

    assert 1 <= labels(0.05).count("car") <= 0.1 * len(labels(0.05))
    assert set(labels(0)) == {"person"}
    assert set(labels(1)) == {"car"}
    # The background does not depend on it, and the arguments tell the sets apart.
    empty = [index for index, scene in enumerate(scenes) if not scene.figures]
    for index in empty:
        same = sample_scene("train", index, SIZE, 0, 0.05)
        assert np.array_equal(same.image, scenes[index].image)
    assert empty
    paths = write_figures(tmp_path / "rare", train=2, val=1, size=SIZE, car_share=0.05)
    stored = json.loads((paths.skeleton.parent / "figures.json").read_text())
    assert stored.pop("car_share") == 0.05
    assert stored.keys() == json.loads((folder / "figures.json").read_text()).keys()
    assert write_figures(tmp_path / "rare", train=2, val=1, size=SIZE, car_share=0.05).reused
    with pytest.raises(UserError, match="delete the folder"):
        write_figures(tmp_path / "rare", train=2, val=1, size=SIZE)


# Once, whole, and never over something else


def test_a_second_call_draws_nothing(folder: Path) -> None:
    before = contents(folder)
    calls: list[int] = []
    paths = write_figures(folder, train=20, val=3, size=SIZE, progress=calls.append)
    assert paths.reused
    assert not calls
    assert contents(folder) == before


def test_other_arguments_are_refused(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(UserError, match="delete the folder"):
        write_figures(folder, train=20, val=3, size=SIZE, seed=1)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["figures.json", "notes.txt"])
def test_a_folder_with_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="something else"):
        write_figures(tmp_path, train=1, val=1, size=64)
    assert contents(tmp_path) == {name: b"mine"}


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_figures(tmp_path / "set", train=2, val=2, size=64, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_image_and_an_empty_folder_is_used(tmp_path: Path) -> None:
    done: list[int] = []
    paths = write_figures(tmp_path, train=2, val=1, size=64, progress=done.append)
    assert done == [1, 2, 3]
    assert not paths.reused
    assert json.loads(paths.val.read_text())["_via_image_id_list"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"train": 0}, {"val": 0}, {"size": 63}, {"seed": -1}),
        *({"car_share": share} for share in (-0.1, 5, float("nan"))),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        write_figures(tmp_path / "set", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_figures(tmp_path / "file" / "set", train=1, val=1, size=64)
