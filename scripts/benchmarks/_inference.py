"""R50-FPN on one image: our predictor beside Detectron2's model and torchvision's."""

import multiprocessing
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
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

from benchmarks import Benchmark, seconds
from benchmarks._memory import peak_memory, reset_peak_memory
from benchmarks._training import CONFIGS, stock
from roilab.device import dtype_of
from roilab.engine import config
from roilab.engine.setup import fit_model
from roilab.inference import Predictor, read_rgb
from roilab.modeling.torchvision_weights import detectron2_name
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import write_figures

FEWEST, MOST = 40, 60  # detections that the random weights shall give, of the 100 at most
SPREAD = 10  # of the scores' weights, so that a few stand out
ROUNDS = 7
_TRIES = 30
_TASKS = {
    "keypoint": ("keypoint_rcnn_R_50_FPN_1x.py", ("person",), COCO_PERSON),
    "mask": ("mask_rcnn_R_50_FPN_1x.py", tuple(f"class {i}" for i in range(80)), None),
}
_STRIDE = "model.backbone.bottom_up.stages.stride_in_1x1=False"


def race(
    folder: Path, task: str, contestant: str, reference: str, *, side: int, least: float
) -> Benchmark:
    """Whole calls on an image in memory, ours against another's, with the same random weights.

    Args:
        task: "keypoint" or "mask".
        contestant: "exact" or "fast".
        reference: "stock" or "torchvision".
        side: of the image's shorter side, in pixels.
        least: how many times as fast ours has to be.
    """
    image = scene(folder, side)
    torch.save(random_weights(task, image), folder / "weights.pth")
    ours = our_predictor(task, folder, fast=contestant == "fast")
    if reference == "stock":
        theirs = stock_detector(task, folder)
    else:
        theirs = torchvision_detector(task, folder, side)
    return Benchmark(
        reference_name={"stock": "Detectron2's model", "torchvision": "torchvision's model"}[
            reference
        ],
        ours=partial(ours, image),
        reference=partial(theirs, image),
        rounds=ROUNDS,
        bar=(0, 1 / least),
        note=lambda: _note(ours, theirs, image),
    )


def race_of_memory(folder: Path, task: str, *, side: int) -> Benchmark:
    """The most memory that a process takes for such calls, the worse mode against Detectron2's.

    Each side is a process of its own that has loaded a model and drops what loading alone took.
    """
    image = scene(folder, side)
    np.save(folder / "image.npy", image)
    torch.save(random_weights(task, image), folder / "weights.pth")

    def peak(side: str) -> float:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return float(process.submit(_peak, side, task, folder).result())

    return Benchmark(
        reference_name="Detectron2's model",
        ours=lambda: max(peak("exact"), peak("fast")),
        reference=partial(peak, "stock"),
        rounds=3,
        gauge=lambda work: float(str(work())),
        unit="bytes",
        bar=(0, 1),
    )


def _peak(side: str, task: str, folder: Path) -> int:
    detect = (
        stock_detector(task, folder)
        if side == "stock"
        else our_predictor(task, folder, fast=side == "fast")
    )
    image = np.load(folder / "image.npy")
    reset_peak_memory()
    for _ in range(3):
        detect(image)
    return peak_memory()


def scene(folder: Path, side: int) -> np.ndarray:
    """side x 4/3 side x 3, RGB: of the sample set, cut to a photograph's proportions."""
    data = write_figures(folder / "figures", train=1, val=1, size=4 * side // 3)
    return np.array(read_rgb(next(data.val.parent.glob("*.jpg")))[:side])


def random_weights(task: str, image: np.ndarray) -> dict[str, Tensor]:
    """Random weights of Detectron2's model, with which it finds as many instances as a trained one.

    Residual branches are damped as trained ones are: sums of undamped ones grow with depth. The
    scores are spread, and the background's raised until few enough regions exceed it.
    """
    torch.manual_seed(0)
    model = config.build(_config(task, stock_parts=True).model, "model").eval()
    for name, norm in model.named_modules():
        if isinstance(norm, FrozenBatchNorm2d) and name.endswith("conv3.norm"):
            norm.weight.fill_(0.2)
    scores = model.roi_heads.box_predictor.cls_score
    scores.weight.data *= SPREAD
    low, high = -50.0, 200.0
    for _ in range(_TRIES):
        scores.bias.data[-1] = (low + high) / 2
        found = len(_detect(model, image))
        if found < FEWEST:
            high = (low + high) / 2
        elif found >= MOST:
            low = (low + high) / 2
        else:
            return model.state_dict()
    raise RuntimeError(f"no bias gives {FEWEST} to {MOST} instances")


def our_predictor(task: str, folder: Path, *, fast: bool) -> Callable[[np.ndarray], object]:
    name, classes, skeleton = _TASKS[task]
    same_size = "dataloader.test.augmentations=[]"
    weights = str(folder / "weights.pth")
    return Predictor.from_config(
        CONFIGS / name,
        weights,
        classes,
        skeleton,
        [_STRIDE, same_size, "train.device=cpu"],
        fast=fast,
    )


def stock_detector(task: str, folder: Path) -> Callable[[np.ndarray], object]:
    """Detectron2's own model, called as its DefaultPredictor calls it."""
    model = config.build(_config(task, stock_parts=True).model, "model").eval()
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
    return partial(_detect, model)


def torchvision_detector(task: str, folder: Path, side: int) -> Callable[[np.ndarray], object]:
    """torchvision's model with the same weights, otherwise as it comes."""
    build = getattr(detection, f"{task}rcnn_resnet50_fpn")
    model = build(
        weights=None,
        weights_backbone=None,
        num_classes=len(_TASKS[task][1]) + 1,
        image_mean=[value / 255 for value in (123.675, 116.28, 103.53)],
        image_std=[1 / 255] * 3,
        min_size=side,
    ).eval()
    weights = torch.load(folder / "weights.pth", weights_only=True)
    model.load_state_dict(_renamed(weights, model.state_dict()))

    def detect(image: np.ndarray) -> Any:
        with torch.inference_mode():
            pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255
            return model([pixels])[0]["scores"]

    return detect


def _config(task: str, *, stock_parts: bool) -> DictConfig:
    """The model's config. Strides are where torchvision has them, so that all do the same work."""
    name, classes, skeleton = _TASKS[task]
    cfg = config.load_config(CONFIGS / name, [_STRIDE])
    fit_model(cfg, classes, skeleton)
    if stock_parts:
        stock(cfg.model)
    return cfg


def _note(ours: Any, theirs: Any, image: np.ndarray) -> str:
    """The number of instances that each finds, and how near ours is to the hardware's peak."""
    # Theirs computes every convolution as it is written down.
    with FlopCounterMode(display=False) as counter:
        reference = len(theirs(image))
    dtype = dtype_of("auto", torch.device("cpu"))
    work, rate = counter.get_total_flops(), matmul_rate(dtype)
    took = statistics.median(seconds(partial(ours, image)) for _ in range(3))
    return (
        f"{len(ours(image))} instances, the reference {reference}; its {work / 1e9:.0f} GFLOP "
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
    height, width = image.shape[:2]
    pixels = torch.as_tensor(image[:, :, ::-1].astype("float32").transpose(2, 0, 1))
    return model([{"image": pixels, "height": height, "width": width}])[0]["instances"]


def _renamed(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of Detectron2's model as torchvision's, which has RGB and the background first.

    Args:
        own: torchvision's model's, whose names are wanted.
    """
    renamed = {}
    for theirs, value in own.items():
        name = detectron2_name(theirs)
        if not theirs.endswith("batches_tracked"):
            value = weights[name]
        if name == "backbone.bottom_up.stem.conv1.weight":
            value = value.flip(1)
        elif ".box_predictor.cls_score" in name:
            value = value.roll(1, dims=0)
        elif ".box_predictor.bbox_pred" in name:
            value = torch.cat([torch.zeros_like(value[:4]), value])
        elif ".mask_head.predictor" in name:
            value = torch.cat([torch.zeros_like(value[:1]), value])
        renamed[theirs] = value
    return renamed
