"""Remedies of prediction and export."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.modeling import GeneralizedRCNN
from PIL import Image

from roilab.app import uploads
from roilab.cli import export
from roilab.engine.run_folder import Run
from roilab.inference import Predictor, Views
from roilab.inference.sources import open_source
from roilab.inference.video import probe, video_writer

from .cases import Attempts, Wrong, case, wrong
from .conftest import Training
from .files import image, write


@case("was it a variable that is not set?")
def an_empty_name(tmp_path: Path) -> Attempts:
    yield wrong(open_source, [""])
    yield wrong(open_source, [str(image(tmp_path / "0.png"))])


@case("make it smaller")
def an_upload_of_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.setattr(uploads, "MAX_PIXELS", 2000)
    for side in (64, 32):
        stream = io.BytesIO()
        Image.new("RGB", (side, side)).save(stream, "PNG")
        yield wrong(uploads.decode_upload, "photo.png", stream.getvalue())


@case("{}; to try it all the same: {}")
def an_image_that_does_not_fit(training: Training) -> Attempts:
    def look(limit: int, side: int) -> None:
        Predictor.from_run(training.run, max_memory=limit).memory.check_image(side, side)

    first = wrong(look, 10**9, 10_000)
    yield first
    yield wrong(look, int(str(first[0].remedy).rpartition("=")[2]), 10_000)
    yield wrong(look, 10**9, 100)


@case("smaller or fewer images; dataloader.test.augmentations can make them smaller")
def too_little_memory(training: Training, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    inference = GeneralizedRCNN.inference

    def limited(self: Any, inputs: list[dict[str, Any]], **options: Any) -> Any:
        if sum(image["image"].numel() for image in inputs) > 2 * 3 * 64 * 64:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return inference(self, inputs, **options)

    monkeypatch.setattr(GeneralizedRCNN, "inference", limited)
    resize = "_target_:detectron2.data.transforms.ResizeShortestEdge"
    smaller = f"dataloader.test.augmentations=[{{{resize},short_edge_length:64,max_size:64}}]"
    small, big = np.zeros((64, 64, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)

    predictor = Predictor.from_run(training.run)
    yield wrong(predictor, [small, small, small])
    yield wrong(predictor, [small])
    yield wrong(Predictor.from_run(training.run, [smaller]), big)


@case("model.roi_heads.keypoint_head._target_=roilab.modeling.KeypointHead")
def a_keypoint_head_whose_outputs_are_not_averaged(tiny_run: Run) -> Attempts:
    def look(*overrides: str) -> None:
        Predictor.from_run(tiny_run, overrides, tta=Views())

    stock = "detectron2.modeling.roi_heads.KRCNNConvDeconvUpsampleHead"
    target = f"model.roi_heads.keypoint_head._target_={stock}"
    first = wrong(look, target)
    yield first
    yield wrong(look, target, str(first[0].remedy))


@case("make it smaller")
def a_video_of_too_many_pixels(tmp_path: Path) -> Attempts:
    for side in (64, 32):
        path = tmp_path / f"{side}.mp4"
        with video_writer(path, Fraction(25), Fraction(1, 25)) as write_frame:
            write_frame(np.zeros((side, side, 3), np.uint8), 0.0)
        yield wrong(probe, path, max_pixels=2000)


# Files of the export.


def keep(*arguments: Any) -> Wrong:
    """What is wrong with the names of an export's files, before anything is computed."""
    return wrong(export._refuse_to_overwrite, *arguments)


@case("give another")
def two_outputs_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    output = tmp_path / "model.onnx"
    yield keep([], output, output)
    yield keep([], output, tmp_path / "expected.npz")


@case("give another name")
def an_output_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    weights = write(tmp_path / "model_final.pth", "weights")
    yield keep([weights], weights, None)
    yield keep([weights], tmp_path / "model.onnx", None)
