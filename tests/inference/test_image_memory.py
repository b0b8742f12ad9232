"""Images whose work does not fit into the memory are refused before it is taken."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from PIL import Image

from roilab.evaluation import memory_bound
from roilab.evaluation.memory_bound import MemoryBound, bounded_inference, measure, resized_size
from roilab.image_files import header_size
from roilab.inference import Predictor
from roilab.inference.sources import expand_inputs
from roilab.memory import NotEnoughMemory

SIDE = 13_000
HUGE = 10**12


def claim(path: Path, side: int = SIDE) -> Path:
    """A small JPEG whose header says that it is large."""
    Image.new("RGB", (64, 64)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")  # its lines and columns stand five bytes behind
    content[frame + 5 : frame + 9] = side.to_bytes(2) * 2
    path.write_bytes(content)
    assert header_size(path) == (side, side)
    return path


@pytest.fixture(scope="module")
def predictor(tiny_run) -> Predictor:
    return Predictor.from_run(tiny_run)


def bounded(predictor: Predictor, limit: int) -> Predictor:
    """The same model within a limit."""
    parts = predictor.image_format, predictor.classes, predictor.skeleton
    limited_predictor = Predictor(predictor.model, [], *parts, max_memory=limit)
    limited_predictor.memory._features = measure(predictor.model, torch.device("cpu"))
    return limited_predictor


def test_a_large_image_is_refused_by_its_header(predictor, tmp_path: Path, monkeypatch) -> None:
    path = claim(tmp_path / "large.jpg")
    monkeypatch.setattr("roilab.image_files.to_rgb", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(NotEnoughMemory, match="13000 x 13000") as caught:
        bounded(predictor, 2 * 10**9)(path)
    assert caught.value.file == path
    assert "at most 2.0 GB, which the memory limit allows" in str(caught.value.expected)


def test_the_remedy_names_a_limit_that_is_enough(predictor, tmp_path: Path) -> None:
    """For decoding, and then for what the model sees."""
    limit, refused = 10**9, []
    while True:
        try:
            MemoryBound(predictor.model, [], limit).check_image(SIDE, SIDE)
            break
        except NotEnoughMemory as error:
            refused.append(limit)
            limit = int(str(error.remedy).rpartition("=")[2])
    assert 1 <= len(refused) <= 2
    assert limit > 100 * SIDE * SIDE


def test_images_that_do_not_fit_together_are_looked_at_apart(predictor) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    base, per_pixel = measure(predictor.model, torch.device("cpu"))
    room = int(base + 2.5 * per_pixel * 64 * 96) + (200 << 20)
    tight = bounded(predictor, room)
    assert tight._batch_size(64, 96, 5) == 2
    together, apart = predictor([image] * 5), tight([image] * 5)
    for first, second in zip(together, apart, strict=True):
        assert first.labels == second.labels
        np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)


def test_masks_are_counted_before_they_are_made(predictor) -> None:
    model, inputs = predictor.model, [predictor.prepare(np.zeros((96, 96, 3), np.uint8))]
    (enough,) = bounded_inference(model, inputs, MemoryBound(model, [], HUGE))
    (stock,) = (output["instances"] for output in model(inputs))
    assert torch.equal(enough.pred_masks, stock.pred_masks)
    assert torch.equal(enough.pred_boxes.tensor, stock.pred_boxes.tensor)
    count = len(stock)
    assert count > 10
    with pytest.raises(NotEnoughMemory, match=f"{count} masks of 96 x 96 pixels") as caught:
        list(bounded_inference(model, inputs, MemoryBound(model, [], count * 96 * 96)))
    assert "test_score_thresh=0.5" in str(caught.value.remedy)


def test_features_grow_with_the_pixels_as_measured(predictor) -> None:
    """By what two small images take, those of a larger one are known."""
    base, per_pixel = measure(predictor.model, torch.device("cpu"))
    image = torch.zeros(3, 384, 640, dtype=torch.uint8)
    with torch.no_grad(), memory_bound._Live() as live:
        predictor.model.backbone(predictor.model.preprocess_image([{"image": image}]).tensor)
    assert live.peak <= base + per_pixel * 384 * 640 <= 2 * live.peak


def test_what_the_model_sees_is_what_counts() -> None:
    """Resizing makes the features of a large image those of a small one."""
    resizing = [T.ResizeShortestEdge(800, 1333), T.RandomFlip()]
    assert resized_size(resizing, 4000, 6000) == (800, 1200)
    assert resized_size([], 4000, 6000) == (4000, 6000)


def test_the_demo_leaves_out_what_does_not_fit_and_goes_on(
    predict, figures, out: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    first, last, *_ = expand_inputs(figures.val.parent)
    shutil.copy(first, photos / f"a{first.suffix}")
    claim(photos / "b.jpg")
    shutil.copy(last, photos / f"c{last.suffix}")
    done = predict(photos, out, "--max-memory", "1.5", status=1)
    assert "b.jpg" in done.stderr
    assert "13000 x 13000" in done.stderr
    predictions = json.loads((out / "predictions.json").read_text())
    names = [f"{name}{first.suffix}" for name in "ac"]
    assert [image["file_name"] for image in predictions["images"]] == names
    assert (out / "c.jpg").is_file()


def test_the_evaluation_says_it_before_an_image_is_looked_at(script, tiny_run) -> None:
    done = script("evaluate", "--run", tiny_run.folder, "--max-memory", "0.0001", status=2)
    assert "an image does not fit into the memory" in done.stderr
    assert "file:" in done.stderr
    assert "at most 0 MB, which the memory limit allows" in done.stderr


@pytest.mark.parametrize("limit", ["0", "-1", "much", "inf"])
def test_a_limit_is_a_number_of_gigabytes(script, tiny_run, limit: str) -> None:
    done = script("evaluate", "--run", tiny_run.folder, "--max-memory", limit, status=2)
    assert "is no number of gigabytes" in done.stderr


def test_a_limit_may_be_as_large_as_one_likes(script, own_run) -> None:
    done = script("evaluate", "--run", own_run.folder, "--max-memory", "1e300")
    assert str(own_run.results_file) in done.stdout


def test_sigterm_ends_the_demo_with_what_was_found(tiny_run, figures, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    image = expand_inputs(figures.val.parent)[0]
    for number in range(3000):
        os.link(image, photos / f"{number}{image.suffix}")
    words = ["--run", tiny_run.folder, "--input", photos, "--output", out]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "scripts/demo.py", *map(str, words)]
    begun = subprocess.Popen(command, **pipes, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not list(out.glob("*.jpg")) and begun.poll() is None:
        time.sleep(0.01)
    begun.terminate()
    said, complaint = begun.communicate()
    assert begun.returncode == 128 + signal.SIGTERM, complaint
    assert "Traceback" not in complaint
    assert "interrupted after" in complaint
    assert "instances: " in said
    predictions = json.loads((out / "predictions.json").read_text())
    assert 1 <= len(predictions["images"]) < 3000
    assert not list(out.glob(".*"))
