"""The predictor: several images at once, its fast mode, threads, and other weights than a run's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from detectron2.modeling.backbone.resnet import BottleneckBlock
from PIL import Image
from tests.conftest import CONFIG, TINY
from torch import nn

from roilab.cpu import optimize as cpu_optimize
from roilab.cpu.optimize import FusedBottleneckBlock, optimize, optimize_for_inference
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.evaluation.memory_bound import rcnn_of
from roilab.inference import Prediction, Predictor
from roilab.skeleton import COCO_PERSON


@pytest.fixture(scope="module")
def predictor(tiny_run: Run) -> Predictor:
    return Predictor.from_run(tiny_run)


def scenes(*sizes: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def assert_same(one: Prediction, other: Prediction, tolerance: float = 0.0) -> None:
    assert (one.width, one.height) == (other.width, other.height)
    assert one.labels == other.labels
    for name in ("boxes", "scores", "keypoints"):
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=0, err_msg=name)
    assert (one.masks != other.masks).mean() <= tolerance


class TestSeveral:
    SIZES = ((96, 128), (80, 80), (96, 128), (128, 96), (96, 128))

    def test_each_is_what_it_is_alone_and_in_its_place(self, predictor: Predictor) -> None:
        images = scenes(*self.SIZES)
        together = predictor(images)
        assert [(output.height, output.width) for output in together] == list(self.SIZES)
        for image, prediction in zip(images, together, strict=True):
            assert len(prediction)
            assert_same(prediction, predictor(image), 1e-3)

    def test_those_of_one_shape_share_a_pass(
        self, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passes: list[int] = []
        rcnn = rcnn_of(predictor.model)
        inference = rcnn.inference

        def counted(inputs: Any, **options: Any) -> Any:
            passes.append(len(inputs))
            return inference(inputs, **options)

        monkeypatch.setattr(rcnn, "inference", counted)
        predictor(scenes(*self.SIZES))
        assert sorted(passes) == [1, 1, 3]
        passes.clear()
        predictor(scenes(*[(40, 40)] * 20))
        assert sorted(passes) == [4, 16]

    def test_none(self, predictor: Predictor) -> None:
        assert predictor([]) == []

    def test_files_and_arrays_of_either_order_of_channels(
        self, predictor: Predictor, tmp_path: Path
    ) -> None:
        (image,) = scenes((64, 80))
        Image.fromarray(image).save(tmp_path / "a.png")
        expected = predictor(image)
        assert_same(predictor(tmp_path / "a.png"), expected)
        predictions = predictor([str(tmp_path / "a.png"), image])
        assert_same(predictions[0], expected, 1e-3)
        assert_same(predictor(image[:, :, ::-1], channels="BGR"), expected)
        with pytest.raises(ValueError, match="channels: found 'GBR'"):
            predictor(image, channels="GBR")

    def test_pillow_images_are_what_their_files_are(
        self, predictor: Predictor, tmp_path: Path
    ) -> None:
        (image,) = scenes((64, 80))
        grey = Image.fromarray(image).convert("L")
        turned = Image.Exif()
        turned[0x0112] = 6
        kinds = {
            "plain": (Image.fromarray(image), {}),
            "turned": (Image.fromarray(image), {"exif": turned}),
            "grey": (grey, {}),
            "16 bits": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}),
            "transparent": (Image.fromarray(image).convert("RGBA"), {}),
        }
        for name, (picture, options) in kinds.items():
            path = tmp_path / f"{name}.png"
            picture.save(path, **options)
            expected = predictor(path)
            with Image.open(path) as opened:
                assert_same(predictor(opened), expected)
            if not options:
                assert_same(predictor(picture), expected)
        assert_same(predictor([Image.fromarray(image)])[0], predictor(image))

    def test_what_is_no_rgb_image_is_refused(self, predictor: Predictor, tmp_path: Path) -> None:
        (image,) = scenes((20, 30))
        picture = Image.fromarray(image)
        # It was made of OpenCV's BGR: no order of channels makes its colours right.
        with pytest.raises(ValueError, match="Pillow image is RGB"):
            predictor(picture, channels="BGR")
        for wrong, said in (
            (None, "found None, which OpenCV gives"),  # of cv2.imread without a file
            ([image, None], "found None"),
            ([torch.zeros(20, 30, 3)], "found Tensor"),
            (image.transpose(2, 0, 1), "H x W x 3 uint8, RGB"),
            (image[:, :, 0], "H x W x 3 uint8, RGB"),
            (image.astype(np.float32), "H x W x 3 uint8, RGB"),
            (np.concatenate([image, image[:, :, :1]], axis=2), "BGR with channels='BGR'"),
        ):
            with pytest.raises(ValueError, match=said):
                predictor(wrong)
        path = tmp_path / "cut.png"
        picture.save(path)
        path.write_bytes(path.read_bytes()[:200])
        with Image.open(path) as cut, pytest.raises(UserError, match=r"cut\.png"):
            predictor(cut)
        with pytest.raises(UserError, match="32"):
            predictor(picture.convert("F"))


def test_from_several_threads_as_from_one(predictor: Predictor) -> None:
    images = scenes(*[(64, 64), (64, 96), (96, 64), (72, 72)] * 3)
    with ThreadPoolExecutor(4) as threads:
        predictions = list(threads.map(predictor, images))
    for image, prediction in zip(images, predictions, strict=True):
        assert_same(prediction, predictor(image))


def test_too_little_memory_is_told(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes((40, 50), (40, 50))
    rcnn = rcnn_of(predictor.model)
    monkeypatch.setattr(rcnn, "inference", lambda *_, **__: torch.empty(2**60))
    with pytest.raises(UserError, match=r"(?s)memory.*2 x 50 x 40 pixels"):
        predictor(images)
    monkeypatch.setattr(rcnn, "inference", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        predictor(images)


def test_heat_maps_only_where_they_are_asked_for(predictor: Predictor) -> None:
    (image,) = scenes((96, 96))
    assert predictor(image).heatmaps is None
    prediction = predictor(image, heatmaps=True)
    assert prediction.heatmaps is not None
    assert prediction.heatmaps.shape[:2] == (len(prediction), 17)
    assert predictor(image).heatmaps is None
    assert prediction.select(np.array([1])).heatmaps is not None


def test_select(predictor: Predictor) -> None:
    prediction = predictor(scenes((96, 96))[0])
    turned = prediction.select(np.array([2, 0]))
    assert turned.labels == (prediction.labels[2], prediction.labels[0])
    np.testing.assert_array_equal(turned.scores, prediction.scores[[2, 0]])
    np.testing.assert_array_equal(turned.masks, prediction.masks[[2, 0]])
    assert_same(prediction.above(float(prediction.scores[3])), prediction.select(np.arange(4)))
    assert len(prediction.select(np.zeros(len(prediction), dtype=bool))) == 0
    assert len(prediction.select(np.array([], dtype=int))) == 0


class TestFast:
    @pytest.mark.parametrize("norm", [FrozenBatchNorm2d, nn.BatchNorm2d])
    @pytest.mark.parametrize("bias", [True, False])
    def test_a_norm_becomes_part_of_its_convolution(self, norm: Any, bias: bool) -> None:
        torch.manual_seed(0)
        conv = Conv2d(3, 8, 3, bias=bias, norm=norm(8), activation=torch.relu)
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(conv.norm, name).data.uniform_(0.5, 2)
        x = torch.randn(2, 3, 9, 11)
        with torch.no_grad():
            expected = conv.eval()(x)
            folded = optimize_for_inference(conv, fast=False)
            assert folded.norm is None
            assert torch.allclose(folded(x), expected, atol=1e-5)

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("groups", [1, 2])
    def test_a_block_is_what_it_was(self, stride: int, groups: int) -> None:
        """Once with convolutions that Winograd takes, once with small ones; with and without."""
        torch.manual_seed(0)
        for width, shape in ((128, (1, 64, 48, 52)), (8, (2, 64, 9, 11))):
            sizes = {"bottleneck_channels": width, "stride": stride, "num_groups": groups}
            block = BottleneckBlock(64, 64 if stride == 1 else 32, **sizes, norm="FrozenBN")
            for name, buffer in block.named_buffers():
                if not name.endswith("tracked"):
                    buffer.uniform_(0.5, 2)
            x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                expected = block.eval()(x)
                fused = optimize_for_inference(optimize(block, cpu_optimize.PARTS), fast=False)
                assert type(fused) is FusedBottleneckBlock
                output = fused(x)
            scale = expected.abs().max()
            assert torch.allclose(output / scale, expected / scale, atol=1e-5)
            assert output.is_contiguous(memory_format=torch.channels_last)

    def test_a_block_with_a_norm_that_counts_is_left_alone(self) -> None:
        block = BottleneckBlock(64, 64, bottleneck_channels=32, norm="GN")
        assert type(optimize_for_inference(block, fast=False)) is BottleneckBlock

    def test_one_switch_turns_everything_off(
        self, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rooms(*overrides: str) -> set[str]:
            layers = list(Predictor.from_run(tiny_run, overrides).model.modules())
            decoders = [layer.decode_maps for layer in layers if hasattr(layer, "decode_maps")]
            modules = {part.__module__ for part in [*map(type, layers), *decoders]}
            return {name.rpartition(".")[2] for name in modules if name.startswith("roilab.cpu.")}

        parts = {"roi_align", "heatmap_argmax", "group_norm"}
        for dtype, also in ((torch.float32, {"winograd"}), (torch.bfloat16, set())):
            monkeypatch.setattr(cpu_optimize, "dtype_of", lambda *_, dtype=dtype: dtype)
            assert rooms() == parts | also, f"where {dtype} is fast"
        assert rooms("train.cpu_kernels=False") == set()
        block = BottleneckBlock(64, 64, bottleneck_channels=32)
        plain = optimize_for_inference(block, fast=False, cpu_kernels=False)
        assert type(plain) is BottleneckBlock

    def test_half_the_bits_find_nearly_the_same(
        self, tiny_run: Run, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cpu_optimize, "dtype_of", lambda *_: torch.bfloat16)
        quick = Predictor.from_run(tiny_run, fast=True)
        heads = quick.model.model.roi_heads
        assert heads.box_head.fc1.weight.dtype == torch.bfloat16
        assert heads.box_predictor.cls_score.layer.weight.dtype == torch.float32
        for image in scenes((96, 128), (128, 96)):
            exact, rough = predictor(image), quick(image)
            assert rough.scores.dtype == np.float32
            assert len(np.unique(rough.scores)) > len(rough) / 2, "scores are not rounded"
            # The weights are random, so that all scores are alike: what is found may change ranks.
            distance = np.abs(rough.boxes[:, None] - exact.boxes[None]).max(axis=2).min(axis=1)
            assert np.median(distance) < 1
            best = [np.sort(prediction.scores)[-5:] for prediction in (rough, exact)]
            np.testing.assert_allclose(*best, atol=0.01)

    def test_where_bfloat16_is_not_faster_it_is_exact(
        self, tiny_run: Run, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cpu_optimize, "dtype_of", lambda *_: torch.float32)
        quick = Predictor.from_run(tiny_run, fast=True)
        (image,) = scenes((96, 128))
        assert_same(quick(image), predictor(image))


class TestConfigAndWeights:
    def test_the_same_as_the_run(self, tiny_run: Run, predictor: Predictor) -> None:
        classes, skeleton = tiny_run.classes(), tiny_run.skeleton()
        other = Predictor.from_config(CONFIG, str(tiny_run.weights), classes, skeleton, TINY)
        (image,) = scenes((96, 128))
        assert_same(other(image), predictor(image))

    def test_what_does_not_fit_is_named(self, tiny_run: Run, tmp_path: Path) -> None:
        weights, names = str(tiny_run.weights), ("car", "person")
        with pytest.raises(UserError, match=r"skeleton"):
            Predictor.from_config(CONFIG, weights, names)
        with pytest.raises(UserError, match=r"do not fit"):  # it is smaller than its config
            Predictor.from_config(CONFIG, weights, names, COCO_PERSON)
        with pytest.raises(UserError, match=r"cannot be loaded"):
            Predictor.from_config(CONFIG, str(tmp_path / "none.pth"), names, COCO_PERSON)
