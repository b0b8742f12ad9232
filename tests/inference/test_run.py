"""A run folder on images: the evaluation's own numbers, and weights that fit to the last name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from pycocotools import mask as mask_utils

from roilab import skeleton as skeletons
from roilab.data.dataset import load_dataset
from roilab.engine import config
from roilab.engine.checkpoint import read_checkpoint, save_atomically
from roilab.engine.load_run import check_meaning, load_run, load_run_config
from roilab.engine.run_folder import Run, open_run
from roilab.errors import UserError
from roilab.evaluation import predict
from roilab.inference import Predictor, read_rgb, to_json
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths
from roilab.via import LabelRules

# pycocotools.mask.decode with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RESIZE = "{_target_: detectron2.data.transforms.ResizeShortestEdge, short_edge_length: 128}"


@pytest.mark.parametrize(
    "overrides",
    [(), ("dataloader.test.image_format=RGB",), (f"dataloader.test.augmentations=[{RESIZE}]",)],
    ids=["as trained", "rgb", "resized"],
)
def test_the_predictor_finds_what_the_evaluation_finds(
    tiny_run: Run, figures: FiguresPaths, overrides: tuple[str, ...]
) -> None:
    predictor = Predictor.from_run(tiny_run, overrides)
    cfg, model = load_run(tiny_run, overrides)
    dataset = load_dataset(str(figures.val), str(figures.val.parent), skeleton="coco_person")
    batches = config.build(cfg.dataloader.test, "dataloader.test", dataset=dataset)
    total = 0
    for inputs, expected, _ in predict(model, batches):
        got = predictor(read_rgb(Path(inputs["file_name"])))
        assert got.labels == tuple(dataset.classes[i] for i in expected.pred_classes)
        assert_array_equal(got.scores, expected.scores)
        assert_array_equal(got.boxes, expected.pred_boxes.tensor)
        assert_array_equal(got.masks, expected.pred_masks)
        people = [label == "person" for label in got.labels]
        assert_array_equal(got.keypoints[people], expected.pred_keypoints[people])
        assert ((got.keypoints[people][..., 2] >= 0) & (got.keypoints[people][..., 2] <= 1)).all()
        assert np.isnan(got.keypoints[~np.array(people)]).all()
        assert (np.diff(got.scores) <= 0).all(), "best first"
        total += len(got)
    assert total > 10


def test_json_gives_back_what_was_predicted(tiny_run: Run, figures: FiguresPaths) -> None:
    file = min(figures.val.parent.glob("*.jpg"))
    prediction = Predictor.from_run(tiny_run)(read_rgb(file))
    data = json.loads(json.dumps(to_json(file.name, prediction), allow_nan=False))
    assert (data["file_name"], data["width"], data["height"]) == (file.name, 96, 96)
    assert len(data["instances"]) == len(prediction) > 1
    for index, instance in enumerate(data["instances"]):
        assert instance["class"] == prediction.labels[index]
        assert instance["score"] == prediction.scores[index]
        x, y, width, height = instance["bbox"]
        assert_allclose([x, y, x + width, y + height], prediction.boxes[index], rtol=0, atol=1e-4)
        assert_array_equal(
            mask_utils.decode(instance["segmentation"]).astype(bool), prediction.masks[index]
        )
        has_keypoints = prediction.labels[index] in COCO_PERSON.classes
        assert ("keypoints" in instance) == has_keypoints
        if has_keypoints:
            back = np.add(instance["keypoints"], [0.5, 0.5, 0])
            assert_allclose(back, prediction.keypoints[index], rtol=0, atol=1e-4)


LAYER = "backbone.fpn_lateral2.weight"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (
            lambda weights: {"backbone.surplus": weights.pop(LAYER), **weights},
            [f"missing: {LAYER}", "not in the model: backbone.surplus"],
        ),
        (lambda weights: weights | {LAYER: torch.zeros(3)}, [f"of another shape: {LAYER}"]),
        (lambda weights: {}, ["missing: ", " more"]),
    ],
    ids=["renamed", "resized", "emptied"],
)
def test_weights_that_do_not_fit_are_named(
    own_run: Run, spoil: Callable[[dict], dict], named: list[str]
) -> None:
    checkpoint = read_checkpoint(own_run.weights)
    save_atomically(checkpoint | {"model": spoil(checkpoint["model"])}, own_run.weights)
    with pytest.raises(UserError) as error:
        load_run(own_run)
    for text in (*named, own_run.weights.name):
        assert text in str(error.value)
    assert error.value.remedy is not None
    assert "weights that this run has saved" in error.value.remedy


def test_weights_cut_short_and_a_folder_without_any(own_run: Run) -> None:
    own_run.weights.write_bytes(own_run.weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not as it was written"):
        load_run(own_run)
    own_run.provenance_file.unlink()  # with the digests
    with pytest.raises(UserError, match="cannot be read"):
        load_run(own_run)
    own_run.weights.unlink()
    with pytest.raises(UserError, match=r"no model_final\.pth"):
        open_run(own_run.folder)


def test_data_of_a_run_are_those_of_its_splits(tiny_run: Run) -> None:
    cfg = load_run_config(tiny_run, ["data.val={images: elsewhere}"])
    assert cfg.data.val.images == "elsewhere"
    with pytest.raises(UserError, match=r"splits(.|\n)*data\.val\.skeleton"):
        load_run_config(tiny_run, ["data.skeleton=coco_person"])


def test_data_must_mean_what_the_model_means(
    tiny_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    def data(**options):
        return load_dataset(str(figures.val), str(figures.val.parent), **options)

    by_class = LabelRules(class_attribute="class")
    check_meaning(tiny_run, data(skeleton="coco_person"))
    check_meaning(tiny_run, data(rules=by_class))  # without keypoints
    with pytest.raises(UserError, match=r"person, car\n.*car, person"):
        check_meaning(tiny_run, data(classes=["person", "car"], rules=by_class))

    declaration = COCO_PERSON.to_dict()
    declaration["sigmas"] = [0.1] * 17
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps(declaration))
    check_meaning(tiny_run, data(skeleton=str(path)))  # sigmas are the evaluation's own business
    declaration["keypoints"] = declaration["keypoints"][::-1]
    path.write_text(json.dumps(declaration))
    assert skeletons.load_skeleton(path).keypoints[0] == "right_ankle"
    with pytest.raises(UserError, match=r"data\.val\.skeleton"):
        check_meaning(tiny_run, data(skeleton=str(path)))
