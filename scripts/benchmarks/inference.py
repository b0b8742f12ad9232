"""R50-FPN on an image of 800 pixels: our predictor beside Detectron2's model and torchvision's."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.layers import FrozenBatchNorm2d
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection

from benchmarks import Benchmark, in_new_process, peak_memory, reset_peak_memory, seconds
from benchmarks.training import use_stock_parts
from roilab.device import dtype_of
from roilab.engine import config
from roilab.engine.setup import fit_model
from roilab.files import config_folder
from roilab.inference import Predictor, read_rgb
from roilab.modeling.torchvision_weights import detectron2_name
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import write_figures

SIDE = 800  # pixels, of the image's shorter side
FEWEST, MOST = 40, 60  # detections that the random weights shall give, of the 100 at most
_TASKS = {
    "keypoint": ("keypoint_rcnn_R_50_FPN_1x.py", ("person",), COCO_PERSON),
    "mask": ("mask_rcnn_R_50_FPN_1x.py", tuple(f"class {i}" for i in range(80)), None),
}
# Strides are where torchvision has them, so that all do the same work.
STRIDE = "model.backbone.bottom_up.stages.stride_in_1x1=False"
Detector = Callable[[np.ndarray], Any]


def compare_speed(
    task: str, mode: str, reference: str, least: float, folder: Path, side: int = SIDE
) -> Benchmark:
    """Whole calls on an image in memory, ours against another's, with the same random weights.

    Ours has to be `least` times as fast. Mode and reference are kinds of a `detector`.
    """
    image = sample_image(folder, side, task)
    detectors = (detector(kind, task, folder, side) for kind in (mode, reference))
    ours, theirs = (partial(detect, image) for detect in detectors)
    name = "Detectron2's model" if reference == "stock" else "torchvision's model"
    return Benchmark(name, ours, theirs, 7, bar=(0, 1 / least), note=partial(_note, ours, theirs))


def compare_memory(task: str, folder: Path, side: int = SIDE) -> Benchmark:
    """The most memory that a process takes for such calls, the worse mode against Detectron2's.

    Each detector has a process of its own, and what only loading its model took does not count.
    """
    image = sample_image(folder, side, task)
    peak = partial(in_new_process, _memory, task, folder, image)
    works = lambda: max(peak("exact"), peak("fast")), partial(peak, "stock")
    return Benchmark("Detectron2's model", *works, 3, unit="bytes", bar=(0, 1))


infer_keypoint_exact_stock = partial(compare_speed, "keypoint", "exact", "stock", 1.3)
infer_keypoint_fast_stock = partial(compare_speed, "keypoint", "fast", "stock", 2.8)
infer_keypoint_fast_torchvision = partial(compare_speed, "keypoint", "fast", "torchvision", 3.2)
infer_keypoint_memory = partial(compare_memory, "keypoint")
infer_mask_exact_stock = partial(compare_speed, "mask", "exact", "stock", 1.3)
infer_mask_fast_stock = partial(compare_speed, "mask", "fast", "stock", 2.8)
infer_mask_fast_torchvision = partial(compare_speed, "mask", "fast", "torchvision", 3.2)
infer_mask_memory = partial(compare_memory, "mask")


def _memory(task: str, folder: Path, image: np.ndarray, kind: str) -> int:
    detect = detector(kind, task, folder)
    reset_peak_memory()
    for _ in range(3):
        detect(image)
    return peak_memory()


def sample_image(folder: Path, side: int, task: str) -> np.ndarray:
    """side x 4/3 side x 3, RGB: of the sample set, cut to a photograph's proportions.

    Weights of a model of the task for this image are written into the folder as well.
    """
    data = write_figures(folder / "figures", train=1, val=1, size=4 * side // 3)
    image = np.array(read_rgb(next(data.val.parent.glob("*.jpg")))[:side])
    torch.save(random_weights(task, image), folder / "weights.pth")
    return image


def detector(kind: str, task: str, folder: Path, side: int = SIDE) -> Detector:
    """A detector of RGB images with the weights in the folder.

    Args:
        kind: "exact" or "fast" for our modes, "stock" for Detectron2's own model, called as its
            DefaultPredictor calls it, or "torchvision" for torchvision's, otherwise as it comes.
        side: to which torchvision's model resizes images; the others leave theirs.
    """
    name, classes, skeleton = _TASKS[task]
    file = folder / "weights.pth"
    if kind in ("exact", "fast"):
        overrides = [STRIDE, "dataloader.test.augmentations=[]", "train.device=cpu"]
        rest = str(file), classes, skeleton, overrides
        return Predictor.from_config(config_folder() / name, *rest, fast=kind == "fast")
    weights = torch.load(file, weights_only=True)
    if kind == "stock":
        model = stock_model(task)
        model.load_state_dict(weights)
        return partial(_detect, model)
    mean = [value / 255 for value in (123.675, 116.28, 103.53)]
    std = [1 / 255] * 3
    build = getattr(detection, f"{task}rcnn_resnet50_fpn")
    numbers: dict[str, Any] = {"num_classes": len(classes) + 1, "min_size": side}
    numbers |= {"image_mean": mean, "image_std": std}
    model = build(weights=None, weights_backbone=None, **numbers).eval()
    model.load_state_dict(_renamed(weights, model.state_dict()))

    @torch.inference_mode()
    def detect(image: np.ndarray) -> Any:
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255
        return model([pixels])[0]["scores"]

    return detect


def model_config(task: str, overrides: Sequence[str] = (STRIDE,)) -> DictConfig:
    """The config of a task with its classes and skeleton."""
    name, classes, skeleton = _TASKS[task]
    cfg = config.load_config(config_folder() / name, overrides)
    fit_model(cfg, classes, skeleton)
    return cfg


def stock_model(task: str) -> Any:
    """Detectron2's own model, with random weights."""
    cfg = model_config(task)
    use_stock_parts(cfg.model)
    return config.build(cfg.model, "model").eval()


def random_weights(task: str, image: np.ndarray) -> dict[str, Tensor]:
    """Random weights of Detectron2's model that give as many instances as trained ones.

    Residual branches are damped as trained ones are: sums of undamped ones grow with depth. The
    scores are spread, and the background's raised until few enough regions exceed it.
    """
    torch.manual_seed(0)
    model = stock_model(task)
    for name, norm in model.named_modules():
        if isinstance(norm, FrozenBatchNorm2d) and name.endswith("conv3.norm"):
            norm.weight.fill_(0.2)
    scores = model.roi_heads.box_predictor.cls_score
    scores.weight.data *= 10  # so that a few stand out
    low, high = -50.0, 200.0
    for _ in range(30):
        scores.bias.data[-1] = (low + high) / 2
        count = len(_detect(model, image))
        if count < FEWEST:
            high = (low + high) / 2
        elif count >= MOST:
            low = (low + high) / 2
        else:
            return model.state_dict()
    raise RuntimeError(f"no bias gives {FEWEST} to {MOST} instances")


def _note(ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
    """Numbers of instances, and how near ours is to the hardware's peak."""
    # Theirs computes every convolution directly.
    with FlopCounterMode(display=False) as counter:
        reference = len(theirs())
    dtype = dtype_of("auto", torch.device("cpu"))
    work, rate = counter.get_total_flops(), matmul_rate(dtype)
    took = statistics.median(seconds(ours) for _ in range(3))
    return (
        f"{len(ours())} instances, the reference {reference}; its {work / 1e9:.0f} GFLOP "
        f"would take {1000 * work / rate:.0f} ms at the {rate / 1e9:.0f} GFLOP/s of a matrix "
        f"product in {str(dtype)[6:]} here, {work / rate / took:.0%} of ours"
    )


def matmul_rate(dtype: torch.dtype, side: int = 2048, rounds: int = 5) -> float:
    """Floating-point operations a second of a product of two square matrices; the best round."""
    first, second = torch.randn(2, side, side).to(dtype)
    first @ second
    return 2 * side**3 / min(seconds(lambda: first @ second) for _ in range(rounds))


@torch.inference_mode()
def _detect(model: nn.Module, image: np.ndarray) -> Any:
    return model(model_inputs(image))[0]["instances"]


def model_inputs(image: np.ndarray) -> list[dict[str, Any]]:
    """A batch for Detectron2's models, which take BGR, of an RGB image."""
    pixels = torch.as_tensor(image[:, :, ::-1].astype("float32").transpose(2, 0, 1))
    return [{"image": pixels, "height": image.shape[0], "width": image.shape[1]}]


def _renamed(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of Detectron2's model by torchvision's names; it has RGB and the background first."""
    renamed = {}
    for theirs, value in own.items():
        name = detectron2_name(theirs)
        value = value if theirs.endswith("batches_tracked") else weights[name]
        if name == "backbone.bottom_up.stem.conv1.weight":
            value = value.flip(1)
        elif ".box_predictor.cls_score" in name:
            value = value.roll(1, dims=0)
        elif ".box_predictor.bbox_pred" in name or ".mask_head.predictor" in name:
            rows = 4 if "bbox_pred" in name else 1  # of the background, which is not used
            value = torch.cat([torch.zeros_like(value[:rows]), value])
        renamed[theirs] = value
    return renamed
