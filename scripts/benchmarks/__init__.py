"""Benchmarks: each is a function of a module here, and has its line in `BENCHMARKS`.

To add one, write a function in the module of its subject

    def name(folder: Path, **sizes: int) -> Benchmark

that writes its input into `folder` (empty, removed afterwards) and returns what is timed. Sizes
have defaults; tests give smaller ones. A module is imported only when a benchmark of it runs.
"""

import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Module -> benchmark -> what it compares.
BENCHMARKS = {
    "cpu": {
        "cpu_kernels": "layers of train.cpu_kernels against torch's own",
        "cpu_parts": "a training step with all parts of train.cpu_kernels and with none",
    },
    "evaluation": {
        "eval_bbox": "AP of boxes against pycocotools",
        "eval_keypoints": "AP of keypoints against pycocotools",
        "evaluate": "box AP of a model's instances against Detectron2's COCOEvaluator",
    },
    "inference": {
        "infer_keypoint_exact_stock": "Keypoint R-CNN on an image, exact mode against Detectron2",
        "infer_keypoint_fast_stock": "Keypoint R-CNN on an image, fast mode against Detectron2",
        "infer_keypoint_fast_torchvision": "Keypoint R-CNN on an image, fast against torchvision",
        "infer_keypoint_memory": "peak memory of Keypoint R-CNN on an image against Detectron2",
        "infer_mask_exact_stock": "Mask R-CNN on an image, exact mode against Detectron2",
        "infer_mask_fast_stock": "Mask R-CNN on an image, fast mode against Detectron2",
        "infer_mask_fast_torchvision": "Mask R-CNN on an image, fast mode against torchvision",
        "infer_mask_memory": "peak memory of Mask R-CNN on an image against Detectron2",
    },
    "roi_heads": {
        "keypoint_decode": "keypoints from heat maps against Detectron2's heatmaps_to_keypoints",
        "part_costs": "a training step of our keypoint head against Detectron2's",
        "roi_align_max": "RoIAlign with maxima against Detectron2's averages",
        "roi_align_train": "RoIAlign of a training step on the CPU against Detectron2's",
        "roi_warp": "RoIWarp with maxima against RoIAlign's averages",
    },
    "run_folder": {
        "open_run": "opening a run with every check against torch.load and no checks",
        "save_checkpoint": "writing a checkpoint with its digest and without one",
    },
    "training": {
        "train_figures": "iterations of the figures model against Detectron2's own loop",
        "train_keypoint_r50": "iterations of Keypoint R-CNN R50-FPN against Detectron2's own loop",
    },
    "via": {
        "load_dataset": "a VIA project as a data set against the loader that tutorials show",
        "via_image_size": "image sizes from headers against decoding the images",
        "via_linearity": "reading a region of a large VIA project against one of a small project",
        "via_memory": "peak memory of reading a VIA project against the size of the file",
        "via_read": "reading and labelling a VIA project against json.loads",
    },
}
MODULES = {name: module for module, meanings in BENCHMARKS.items() for name in meanings}
MEANINGS = {name: BENCHMARKS[module][name] for name, module in sorted(MODULES.items())}

Work = Callable[[], Any]
Works = Mapping[str, Work]


@dataclass(frozen=True)
class Benchmark:
    """Two ways to do the same work.

    Args:
        reference_name: what `reference` is, in a few words for the table.
        ours: does the work once in the way that is judged.
        reference: does the same work, or a lower bound of it, in the other way.
        rounds: how often each is timed; the median counts.
        work: how many units of work one call of each does; measures are compared by unit.
        unit: of the measures: the seconds of a call, or the bytes that it returns.
        bar: the range that the project wants the ratio to be in.
        note: further results, computed after the timing.
    """

    reference_name: str
    ours: Work
    reference: Work
    rounds: int = 15
    work: tuple[float, float] = (1, 1)
    unit: str = "s"
    bar: tuple[float, float] | None = None
    note: Callable[[], str] | None = None


def load(name: str, folder: Path, **sizes: Any) -> Benchmark:
    """The benchmark of that name, its input written into `folder`; `sizes` replace defaults."""
    module = importlib.import_module(f"{__name__}.{MODULES[name]}")
    benchmark: Benchmark = getattr(module, name)(folder, **sizes)
    return benchmark


def on_one_thread(work: Work) -> Callable[[], None]:
    """The same work on one core.

    On shared cores threads wait for each other, which costs ten times the work on both sides alike
    and hides any difference.
    """

    def run() -> None:
        import torch  # not every benchmark needs it, and it takes seconds

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            work()
        finally:
            torch.set_num_threads(threads)

    return run


def seconds(work: Work) -> float:
    """The seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(works: Works, rounds: int, unit: str = "s") -> dict[str, float]:
    """The median measure of each work, taken in turns after one call of each to warm up."""
    for work in works.values():
        work()
    measures: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for _ in range(rounds):
        for name in names:
            measures[name].append(seconds(works[name]) if unit == "s" else works[name]())
        names.reverse()
    return {name: statistics.median(values) for name, values in measures.items()}


def in_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a function of a module, computed in a process whose memory is all its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


# getrusage does not do: on Linux `ru_maxrss` of a new process begins with that of its parent.
def peak_memory() -> int:
    """The most bytes that this process has had since it began or since `reset_peak_memory`."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def peak_memory_of(work: Work) -> int:
    """The most bytes that this process takes for a work, beyond those in use before."""
    before = reset_peak_memory()
    work()
    return peak_memory() - before


def reset_peak_memory() -> int:
    """Lower the peak to what is in use now, and return it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()
