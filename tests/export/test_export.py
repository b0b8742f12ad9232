"""roilab export, its files where nothing of RoILab is, and docs/export.md as it is."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.layers.mask_ops import _do_paste_mask
from detectron2.modeling.poolers import ROIPooler
from PIL import Image
from torch import nn

from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.export import FORMATS, Detector, export_run, exporter
from roilab.export.exporter import check_parity, predicted, reference
from roilab.export.formats import runner
from roilab.inference import Prediction, Predictor, expand_inputs, read_rgb
from roilab.modeling import MaskScoringHead
from roilab.synthetic import FiguresPaths

Script = Callable[..., Any]

ROOT = Path(__file__).parents[2]
THRESHOLD = "model.roi_heads.box_predictor.test_score_thresh"
DOCUMENT = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
# A package that may not be imported is one that is not installed.
WITHOUT = "import runpy, sys; sys.modules.update(dict.fromkeys({!r}.split(','))); "
RUN = "sys.argv = sys.argv[1:]; sys.path.insert(0, '.'); runpy.run_path(sys.argv[0], "
RUN += "run_name='__main__')"
IN_TORCH = """
import json, sys, zipfile
import numpy as np, torch, torchvision

expected = np.load("expected.npz")
for file, load in (("m.ts", torch.jit.load), ("m.pt2", torch.export.load)):
    model = load(file)
    model = model.module(check_guards=False) if file == "m.pt2" else model
    with zipfile.ZipFile(file) as parts:
        (name,) = (name for name in parts.namelist() if name.endswith("metadata.json"))
        print(json.loads(parts.read(name))["classes"])
    for i in range(int(sys.argv[1])):
        image = torch.from_numpy(expected[f"image{i}"])
        with torch.inference_mode():
            outputs = model(image, torch.tensor(image.shape[:2]))
        for value, name in zip(outputs, ("boxes", "scores", "labels", "masks", "keypoints")):
            here, there = value.numpy(), expected.get(f"{name}{i}")
            if name == "masks":
                here, there = (array & ~expected[f"mask_ignore{i}"] for array in (here, there))
            if name != "labels":
                np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-2)
"""


def elsewhere(folder: Path, *command: object, without: str = "roilab,detectron2") -> str:
    """What a program prints that runs in a folder, without some packages."""
    code = WITHOUT.format(without) + RUN
    program = [sys.executable, "-W", "ignore", "-c", code, *map(str, command)]
    options = {"env": {"PATH": ""}, "capture_output": True, "text": True}
    done = subprocess.run(program, cwd=folder, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def some_images(figures: FiguresPaths) -> list[Any]:
    """Of several shapes: with some the model sees the length, with some the width that it may."""
    a, b, c, d = map(read_rgb, expand_inputs(figures.val.parent))
    return [a, np.ascontiguousarray(b[:50]), np.ascontiguousarray(c[:, :90]), d]


def detector_of(predictor: Predictor) -> Detector:
    return Detector(predictor.model, predictor.image_format, predictor.classes, predictor.skeleton)


def best_scores(run: Run, images: Sequence[Any]) -> list[float]:
    predictor = Predictor.from_run(run)
    return [float(predictor(image).scores.max()) for image in images]


@pytest.mark.parametrize(
    "kind", ["plain", "one box for all classes", "sigmoid", "no limit", "outside", "mask scores"]
)
def test_detector_finds_what_the_model_finds(kind: str, sure_run: Run, figures) -> None:
    predictor = Predictor.from_run(sure_run, [f"{THRESHOLD}=0.1", "train.cpu_kernels=false"])
    model: Any = predictor.model
    of_boxes = model.roi_heads.box_predictor
    if kind == "one box for all classes":
        of_boxes.bbox_pred.weight.data = of_boxes.bbox_pred.weight.data[:4]
        of_boxes.bbox_pred.bias.data = of_boxes.bbox_pred.bias.data[:4]
    if kind == "outside":  # of the image, and one kind of anchors nowhere at all
        of_boxes.bbox_pred.bias.data[0] = -100
        of_boxes.cls_score.bias.data[0] = 1
        of_anchors = model.proposal_generator.rpn_head.anchor_deltas.bias.data
        of_anchors[0], of_anchors[4] = torch.inf, -100
    if kind == "mask scores":
        shape = ShapeSpec(channels=96, width=14, height=14)
        torch.manual_seed(0)
        head = MaskScoringHead(shape, num_classes=2, conv_dims=[32]).eval()
        head.predictor.weight.data *= 100  # or a mask is at the threshold everywhere
        model.roi_heads.mask_head = head
    model.pixel_std.copy_(torch.tensor([0.9, 1.0, 1.1])[:, None, None])
    of_boxes.use_sigmoid_ce = kind == "sigmoid"
    of_boxes.test_topk_per_image = -1 if kind == "no limit" else 25
    detector = detector_of(predictor)

    def run(image: Any, size: tuple[int, int]) -> Any:
        with torch.inference_mode():
            outputs = detector(torch.from_numpy(image), torch.tensor(size))
        return dict(zip(detector.outputs, (output.numpy() for output in outputs), strict=True))

    for image in some_images(figures):
        (expected, ignore), exported = reference(predictor, image), predicted(run, predictor, image)
        assert (2 if kind == "outside" else 20) < len(expected) == len(exported)
        assert expected.labels == exported.labels
        assert (expected.mask_scores is None) == (kind != "mask scores")
        for name in ("boxes", "scores", "keypoints", "mask_scores"):
            here, there = getattr(exported, name), getattr(expected, name)
            if there is not None:
                np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-3)
        assert not ((exported.masks != expected.masks) & ~ignore).any()


def test_onnx_file_is_run_by_the_code_of_the_document(sure_run, figures, tmp_path, script) -> None:
    images, folder = some_images(figures), tmp_path / "images"
    folder.mkdir()
    # Nothing is found in the image whose best score is the lowest.
    best = best_scores(sure_run, images)
    order = np.argsort(best)
    threshold = (best[order[0]] + best[order[1]]) / 2
    for number, index in enumerate(order[:3]):
        Image.fromarray(images[index]).save(folder / f"{number}.png")
    files = ("--output", tmp_path / "m.onnx", "--expected", tmp_path / "expected.npz")
    arguments = ("--run", sure_run.folder, *files, "--check", folder, f"{THRESHOLD}={threshold}")
    done = script("export", *arguments)
    said = done.stdout
    assert " 0 instances" in said
    assert re.search(
        r"[1-9]\d* instances?; boxes \S+ px, .* masks IoU \S+, [1-9]\d* keypoints?", said
    )
    assert "image       uint8 (h, w, 3)" in said

    detect, check = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "detect.py").write_text(detect)
    (tmp_path / "check.py").write_text(check)
    no_torch = "roilab,detectron2,torch,torchvision,cv2"
    checked = elsewhere(tmp_path, "check.py", "m.onnx", "expected.npz", without=no_torch)
    expected = np.load(tmp_path / "expected.npz")
    assert checked.count("equal to the model's") == 7
    assert checked.startswith("image 0: 0 instances")
    printed = elsewhere(tmp_path, "detect.py", "m.onnx", "images/1.png", without=no_torch)
    assert len(printed.splitlines()) == len(expected["scores2"]) > 0
    assert set(re.findall(r"^\w+", printed, re.MULTILINE)) <= {"person", "car"}
    # Images smaller than the steps of the model, as it would see them.
    detector = detector_of(Predictor.from_run(sure_run, [f"{THRESHOLD}={threshold}"]))
    run = runner((tmp_path / "m.onnx").read_bytes(), "onnx", detector.outputs)
    for size in ((1, 1), (20, 20), (33, 70)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
        with torch.inference_mode():
            there = detector(torch.from_numpy(image), torch.tensor((50, 60)))
        outputs = run(image, (50, 60))
        for name, value in zip(detector.outputs, there, strict=True):
            assert outputs[name].shape == tuple(value.shape)
        np.testing.assert_allclose(outputs["boxes"], there[0], atol=1e-2)
    # Images of 16 bits, and turned ones, are as the predictor reads them.
    detect_module = runpy.run_path(str(tmp_path / "detect.py"))
    grey = np.array(Image.fromarray(images[0]).convert("L"))
    turned = Image.Exif()
    turned[0x0112] = 6
    for values in (grey, grey.astype(np.uint16) * 257, images[0]):
        Image.fromarray(values).save(tmp_path / "image.png", exif=turned)
        with Image.open(tmp_path / "image.png") as opened:
            seen = np.asarray(detect_module["to_rgb"](opened))
        assert (seen == read_rgb(tmp_path / "image.png")).all()
    for mode in ("I", "F"):
        Image.fromarray(grey).convert(mode).save(tmp_path / "image.tif")
        with Image.open(tmp_path / "image.tif") as opened, pytest.raises(ValueError, match="32"):
            detect_module["to_rgb"](opened)
    # The check can fail.
    spoilt = {name: expected[name] + (0.6 if name == "boxes2" else 0) for name in expected}
    np.savez(tmp_path / "spoilt.npz", **spoilt)
    with pytest.raises(AssertionError, match="AssertionError: boxes"):
        elsewhere(tmp_path, "check.py", "m.onnx", "spoilt.npz", without=no_torch)


def test_files_of_pytorch_run_without_the_package(sure_run: Run, figures, tmp_path: Path) -> None:
    images = some_images(figures)
    best = sorted(best_scores(sure_run, images))
    # As the model sees them: what resizes elsewhere is the caller's.
    overrides = ("dataloader.test.augmentations=[]", f"{THRESHOLD}={sum(best[:2]) / 2}")
    for format, name in (("torchscript", "m.ts"), ("exported-program", "m.pt2")):
        expected = tmp_path / "expected.npz"
        done = export_run(
            sure_run, tmp_path / name, format, images, overrides=overrides, expected=expected
        )
        assert {row.size for row in done.differences} > {(96, 96), (50, 96), (31, 84), (96, 90)}
        assert sum(row.instances for row in done.differences) > 5
        assert sum(row.peaks for row in done.differences) > 0
    (tmp_path / "run.py").write_text(IN_TORCH)
    said = elsewhere(tmp_path, "run.py", len(done.differences))
    assert said == "['car', 'person']\n" * 2


def changed_runner(change: Callable[[Any, tuple[int, int]], Any]) -> Callable[..., Any]:
    """The exporter's `runner` for files whose outputs are changed; `change` also gets the size."""
    original = exporter.runner

    def changed(*arguments: Any) -> Any:
        run = original(*arguments)
        return lambda image, size: change(run(image, size), size)

    return changed


def test_nothing_is_written_that_differs(sure_run: Run, figures, tmp_path, monkeypatch) -> None:
    moved = changed_runner(lambda outputs, _: {**outputs, "boxes": outputs["boxes"] + 0.6})
    arguments = (sure_run, tmp_path / "m.ts", "torchscript", some_images(figures)[:1])
    with monkeypatch.context() as patched:
        patched.setattr(exporter, "runner", moved)
        with pytest.raises(UserError, match=r"boxes 0\.6 px") as raised:
            export_run(*arguments, expected=tmp_path / "expected.npz")
    assert "boxes 0.5 px" in str(raised.value)
    with pytest.raises(UserError, match="finds nothing in the images") as raised:
        export_run(*arguments, overrides=[f"{THRESHOLD}=1.0"])
    assert raised.value.key == "check"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="this is a folder"):
        export_run(sure_run, tmp_path, "torchscript", [])


def test_reference_is_what_the_predictor_finds(sure_run: Run, figures: FiguresPaths) -> None:
    predictor = Predictor.from_run(sure_run)
    model: Any = predictor.model
    for image in some_images(figures):
        (prediction, ignore), expected = reference(predictor, image), predictor(image)
        assert (prediction.masks == expected.masks).all()
        for name in ("boxes", "scores", "keypoints", "labels"):
            np.testing.assert_array_equal(getattr(prediction, name), getattr(expected, name))
        with torch.inference_mode():
            (seen,) = model.inference([predictor.prepare(image)], do_postprocess=False)
            # In the image, before the threshold.
            probabilities, _ = _do_paste_mask(
                seen.pred_masks, torch.tensor(prediction.boxes), *image.shape[:2], skip_empty=False
            )
        at_threshold = (probabilities - 0.5).abs().numpy() < 1e-4
        assert 0 < at_threshold.sum() < 0.01 * at_threshold.size
        assert ((ignore != at_threshold).sum()) <= 2  # of rounding, once more


@pytest.mark.parametrize("kind", ["at the threshold", "away from it"])
def test_pixels_off_the_threshold_count(kind, sure_run, figures, tmp_path, monkeypatch) -> None:
    """A file whose masks differ by few pixels from the model's, in one of its instances."""
    predictor = Predictor.from_run(sure_run)

    def share(candidate: Any) -> Any:
        """Of each instance, how many pixels rounding decides, for each that it does not."""
        (prediction, ignore), _ = candidate
        return ignore.sum(axis=(1, 2)) / (prediction.masks & ~ignore).sum(axis=(1, 2))

    candidates = [(reference(predictor, image), image) for image in some_images(figures)]
    (prediction, ignore), image = best = max(candidates, key=lambda pair: share(pair).max())
    at, images = int(share(best).argmax()), [image]
    assert ignore[at].sum() > 0.011 * prediction.masks[at].sum()  # else the IoU would allow them
    changed = ignore[at]
    if kind == "away from it":
        rows, columns = np.nonzero(prediction.masks[at] & ~ignore[at])
        few = len(rows) // 50 + 1
        changed = np.zeros_like(changed)
        changed[rows[:few], columns[:few]] = True
        assert few < 10

    def spoilt(outputs: Any, size: tuple[int, int]) -> Any:
        if size == images[0].shape[:2] and len(outputs["masks"]) == len(prediction):
            place = int(np.abs(outputs["boxes"] - prediction.boxes[at]).sum(axis=1).argmin())
            outputs["masks"][place] ^= changed
        return outputs

    monkeypatch.setattr(exporter, "runner", changed_runner(spoilt))
    arguments = (sure_run, tmp_path / "m.ts", "torchscript", images)
    if kind == "at the threshold":
        assert all(difference.acceptable for difference in export_run(*arguments).differences)
    else:
        with pytest.raises(UserError, match=r"masks IoU 0\.9[0-8]"):
            export_run(*arguments)
        assert not (tmp_path / "m.ts").exists()


def test_images_of_the_check_have_to_be_there(sure_run: Run, tmp_path, script: Script) -> None:
    arguments = ("--run", sure_run.folder, "--output", tmp_path / "m.ts", "--format", "torchscript")
    done = script("export", *arguments, "data.val.images=nowhere", status=2)
    assert "--check" in done.stderr
    assert "nowhere" in done.stderr
    done = script("export", *arguments)  # with the run's own
    assert len(re.findall(r" instances?; boxes ", done.stdout)) == 7
    assert done.stdout.count("  84 x 60: ") == 3  # cut
    assert done.stdout.count("  131 x 97: ") == 1  # noise
    assert (tmp_path / "m.ts").is_file()


def test_what_is_read_is_not_written_over(sure_run: Run, figures, tmp_path, script: Script) -> None:
    image = expand_inputs(figures.val.parent)[0]
    arguments = ("export", "--run", sure_run.folder, "--check", image, "--output")
    kept = (image, sure_run.weights, sure_run.config_file)
    before = [path.read_bytes() for path in kept]
    for *outputs, said in (
        (image, "a file that is read"),
        (sure_run.weights, "a file that is read"),
        (tmp_path / "m.onnx", "--expected", sure_run.config_file, "a file that is read"),
        (tmp_path / "m.onnx", "--expected", tmp_path / "m.onnx", "one name"),
    ):
        done = script(*arguments, *outputs, status=2)
        assert said in done.stderr
        assert str(outputs[-1]) in done.stderr
    assert [path.read_bytes() for path in kept] == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_what_an_exporter_raises_is_said(format: str, sure_run: Run, tmp_path, monkeypatch) -> None:
    def fails(self: Detector, image: Any, size: Any) -> None:
        raise RuntimeError("\nno translation of aten::strange\nsee the log")

    monkeypatch.setattr(Detector, "forward", fails)
    with pytest.raises(UserError) as raised:
        export_run(sure_run, tmp_path / "m", format, [])
    assert raised.value.found == f"{format} (RuntimeError: no translation of aten::strange)"


def test_packages_that_are_missing_are_named(sure_run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="onnxscript") as raised:
        export_run(sure_run, tmp_path / "m.onnx", "onnx", [])
    assert "pip install" in str(raised.value.remedy)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("proposal_generator", "RPN"),
        ("roi_heads", "StandardROIHeads"),
        ("roi_heads.box_predictor", "FastRCNNOutputLayers"),
        ("roi_heads.box_pooler", "RoIPooler"),
        ("roi_heads.mask_pooler", "RoIPooler"),
        ("roi_heads.mask_head", "BaseMaskRCNNHead"),
        ("roi_heads.keypoint_pooler", "RoIPooler"),
        ("roi_heads.keypoint_head", "KeypointHead"),
    ],
)
def test_parts_that_are_not_covered_are_named(part: str, expected: str, sure_run: Run) -> None:
    predictor = Predictor.from_run(sure_run)
    other = ROIPooler(14, [1 / 4], 0, "ROIAlignV2") if "pooler" in part else nn.Identity()
    predictor.model.set_submodule(part, other)
    with pytest.raises(UserError) as raised:
        detector_of(predictor)
    assert raised.value.key == f"model.{part}"
    assert (raised.value.found, raised.value.expected) == (type(other).__name__, expected)


def test_padding_to_squares_is_not_covered(sure_run: Run) -> None:
    predictor = Predictor.from_run(sure_run)
    model: Any = predictor.model
    model.backbone._square_pad = 128
    with pytest.raises(UserError, match="128") as raised:
        detector_of(predictor)
    assert raised.value.key == "model.backbone.square_pad"


def test_preparations_in_a_list_of_the_list_are_as_in_the_list_itself(sure_run: Run) -> None:
    resize = "{_target_:detectron2.data.transforms.ResizeShortestEdge,short_edge_length:60}"
    nested = f"{{_target_:detectron2.data.transforms.AugmentationList,augs:[{resize}]}}"
    predictor = Predictor.from_run(sure_run, [f"dataloader.test.augmentations=[{nested}]"])
    expected = {"short_edge": 60, "max_size": sys.maxsize}
    assert exporter._metadata(predictor)["resize"] == expected


@pytest.mark.parametrize(
    "augmentations",
    [
        "[{_target_:detectron2.data.transforms.Resize,shape:[64,64]}]",
        "[{_target_:detectron2.data.transforms.ResizeShortestEdge,short_edge_length:[60,90]}]",
        "[{_target_:detectron2.data.transforms.ResizeShortestEdge,short_edge_length:60,interp:3}]",
    ],
)
def test_preparations_that_nobody_can_repeat_are_refused(augmentations, sure_run, tmp_path) -> None:
    overrides = [f"dataloader.test.augmentations={augmentations}"]
    with pytest.raises(UserError, match="Resize") as raised:
        export_run(sure_run, tmp_path / "m.ts", "torchscript", [], overrides=overrides)
    assert raised.value.key == "dataloader.test.augmentations"


def some_prediction() -> Prediction:
    """Two persons with two joints each, the second joint of the second without a peak; a car."""
    boxes = np.array([[0, 0, 20, 20], [30, 0, 50, 20], [0, 0, 20, 20]], np.float32)
    joints = np.array([[5, 5, 0.9], [15, 15, 0.5]])
    keypoints = np.stack([joints, joints + np.array([30, 0, 0]), np.full_like(joints, np.nan)])
    keypoints[1, 1, 2] = 0.01
    masks = np.zeros((3, 30, 60), bool)
    masks[:, 5:15, 5:15] = True
    scores = np.array([0.9, 0.8, 0.5])
    return Prediction(60, 30, boxes, scores, ("person", "person", "car"), masks, keypoints)


def shuffled(prediction: Prediction, order: list[int]) -> Prediction:
    names = ("boxes", "scores", "masks", "keypoints")
    parts = {name: getattr(prediction, name)[order] for name in names}
    return replace(prediction, labels=tuple(prediction.labels[i] for i in order), **parts)


def test_comparison_finds_the_same_instance() -> None:
    expected = some_prediction()
    same = check_parity(expected, shuffled(expected, [2, 1, 0]), 0.05, 100)
    assert (same.instances, same.alone, same.peaks) == (3, 0, 3)
    assert (same.boxes, same.keypoints, same.masks, same.scores) == (0, 0, 1, 0)
    assert same.acceptable


def test_comparison_measures_what_differs() -> None:
    expected = some_prediction()
    moved = replace(expected, boxes=expected.boxes + np.float32(0.6))
    assert check_parity(expected, moved, 0.05, 100).boxes == pytest.approx(0.6)
    assert not check_parity(expected, moved, 0.05, 100).acceptable
    for joint, apart in (((0, 1), 0.6), ((1, 1), 0)):  # the latter has no peak
        keypoints = expected.keypoints.copy()
        keypoints[(*joint, 0)] += 0.6
        difference = check_parity(expected, replace(expected, keypoints=keypoints), 0.05, 100)
        assert difference.keypoints == pytest.approx(apart)
        assert difference.acceptable == (apart == 0)
    masks = expected.masks.copy()
    masks[2, 5, 5:7] = False
    difference = check_parity(expected, replace(expected, masks=masks), 0.05, 100)
    assert difference.masks == pytest.approx(0.98)
    assert not difference.acceptable
    # Nor do pixels count that rounding decides, and no others are forgiven for it.
    for row, acceptable in ((5, True), (6, False)):
        ignore = np.zeros_like(masks)
        ignore[2, row, 4:7] = True
        order = [2, 1, 0]
        difference = check_parity(
            shuffled(expected, order), replace(expected, masks=masks), 0.05, 100, ignore[order]
        )
        assert difference.acceptable == acceptable
        assert difference.masks == pytest.approx(1 if acceptable else 96 / 98)


def test_instances_at_the_threshold_may_be_missing() -> None:
    expected = some_prediction()
    without = shuffled(expected, [0, 1])
    # The last one has a score of 0.5.
    assert check_parity(expected, without, 0.05, 100).alone == 1
    assert not check_parity(without, expected, 0.05, 100).acceptable
    assert check_parity(expected, without, 0.4995, 100).acceptable
    assert check_parity(expected, without, 0.05, 3).acceptable  # another may have taken its place
    nothing = shuffled(expected, [])
    assert check_parity(nothing, nothing, 0.05, 100).acceptable
    assert check_parity(nothing, expected, 0.05, 100).alone == 3


def test_properties_of_a_file(sure_run: Run) -> None:
    metadata = json.loads(json.dumps(exporter._metadata(Predictor.from_run(sure_run))))
    assert metadata["classes"] == ["car", "person"]
    assert metadata["skeleton"]["keypoints"][0] == "nose"
    assert metadata["resize"] == {"short_edge": 120, "max_size": 180}
    assert metadata["score_threshold"] == 0.7
    assert {name for name in metadata if f"`{name}`" not in DOCUMENT} == set()
