"""Check the installation, with a remedy for whatever fails, or the files of a run folder.

    roilab doctor
    roilab doctor --run outputs/demo
    roilab doctor --run outputs/demo --accept config.yaml

The exit status is 1 if something is broken. It runs where nothing is installed, and reports what is
missing. With --run it verifies a run folder instead, file by file; --accept then accepts files that
were changed on purpose, and without names all files of a run that has no digests yet.
"""

import sys

REINSTALL = "run `make setup`, then `.venv/bin/roilab doctor`"

if sys.version_info < (3, 11):
    print("Python            {}.{}.{} at {}".format(*sys.version_info[:3], sys.executable))
    print("                  remedy: 3.11 or newer is needed, as in `make PYTHON=python3.12 setup`")
    sys.exit(1)

import importlib
import importlib.metadata
import importlib.resources
import logging
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
GIB = 1024**3
MODULES = (
    *("torch", "torchvision", "numpy", "cv2", "PIL", "pycocotools.mask", "fvcore", "iopath"),
    *("omegaconf", "hydra", "shapely", "matplotlib", "tensorboard", "rich", "roilab"),
)
# Names under which modules are installed; others have their own.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "hydra": "hydra-core"}


class Broken(Exception):
    """Raised by a check: what does not work, and its remedy."""

    def __init__(self, result: str, remedy: str = REINSTALL) -> None:
        super().__init__(result, remedy)


def main(arguments: Sequence[str]) -> int:
    """Check the installation, or verify a run folder; returns 1 if something is broken."""
    try:
        from roilab.cli.arguments import parser_of
        from roilab.cli.console import exit_with
    except ModuleNotFoundError:  # RoILab is not installed, which is reported
        return installation()
    parser = parser_of("doctor", __doc__)
    args = parser.parse_args(arguments)
    if args.accept is not None and args.run is None:
        parser.error("--accept goes with --run")
    if args.run is not None:
        exit_with(partial(verify_folder, args.run, args.accept))
    return installation()


def verify_folder(folder: Path, accepted: Sequence[str] | None) -> int:
    """Print the state of each file of a run; returns 1 if one is damaged or gone.

    Args:
        accepted: names of files to accept first; empty: all files; None: accept none.
    """
    from roilab.cli.console import say, with_options
    from roilab.engine.lock import locked
    from roilab.engine.run_folder import Run, verify_run
    from roilab.engine.run_record import RECORD, accept
    from roilab.escaping import one_line

    if accepted is not None:
        with locked(Run(folder).lock_file):
            names = list(accepted)
            if not names:
                names = [state.name for state in verify_run(folder) if state.name != RECORD]
            accept(folder, names)
    states = verify_run(folder)
    for state in states:
        say(f"{one_line(state.name):<30}{state.kind}")
        for line in state.reason.splitlines():
            say(f"{'':<6}{with_options(line)}")
    broken = sum(state.kind in ("gone", "damaged") for state in states)
    unverified = sum(state.kind == "unverified" for state in states)
    sound = "no damage found" if unverified else "all sound"
    print(f"\n{broken} of {len(states)} damaged or gone" if broken else f"\n{sound}", end="")
    print(f", {unverified} without a digest" if unverified else "")
    return 1 if broken else 0


def installation() -> int:
    """Print the result of every check; returns 1 if one needs a remedy."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checks: dict[str, Callable[[], str]] = {
        "Python": lambda: f"{platform.python_version()} at {sys.executable}",
        **{module.split(".")[0]: partial(package, module) for module in MODULES},
        "detectron2": detectron2,
        "device": device,
        "CPU": cpu,
        "torchvision ops": torchvision_ops,
        "Detectron2 ops": detectron2_ops,
        "free disk": disk,
    }
    broken = 0
    for name, check in checks.items():
        try:
            print(f"{name:<18}{check()}", flush=True)
        # Whatever a broken installation raises is reported, and the other checks still run.
        except Exception as error:
            broken += 1
            result = "does not work: " + first_line(error)
            remedy = REINSTALL
            if isinstance(error, Broken):
                result, remedy = error.args
            print(f"{name:<18}{result}\n{'':<18}remedy: {remedy}", flush=True)
    print(f"\n{broken} of {len(checks)} need a remedy" if broken else "\nall works")
    return 1 if broken else 0


def imported(module: str) -> Any:
    """A module, or what is broken where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        is_missing = error.name == module.split(".")[0]
        text = "missing" if is_missing else "does not import: " + first_line(error)
        raise Broken(text) from error


def package(module: str) -> str:
    """The version of a package, and the tested version where they differ."""
    loaded = imported(module)
    name = module.split(".")[0]
    distribution = DISTRIBUTIONS.get(name, name)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = str(getattr(loaded, "__version__", "no version"))
    if module == "omegaconf" and not version.startswith(("2.1.", "2.2.", "2.3.")):
        raise Broken(version, "Detectron2's lazy configs need omegaconf<2.4; " + REINSTALL)
    tested = pins().get(distribution, version)
    return version if tested == version else f"{version} (tested: {tested})"


def pins() -> dict[str, str]:
    """Tested version by package, from requirements/lock.txt; empty if that is missing."""
    path = ROOT / "requirements" / "lock.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split(";")[0].strip().partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pairs}


def detectron2() -> str:
    """The version of Detectron2, its place, and whether its compiled part loads."""
    loaded = imported("detectron2")
    place = Path(str(loaded.__file__)).parent
    owners = importlib.metadata.packages_distributions().get("detectron2", [])
    versions = (f"{name} {importlib.metadata.version(name)}" for name in owners)
    owner = " ".join(versions) or "not from a package"
    try:
        importlib.import_module("detectron2._C")
        compiled = "with compiled ops"
    except ImportError:
        compiled = "without compiled ops, which RoILab does not use"
    return f"{loaded.__version__} at {place} ({owner}; {compiled})"


def device() -> str:
    """The GPU, or the CPU if there is none."""
    import torch

    if not torch.cuda.is_available():
        return "CPU (no CUDA device)"
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    names = ", ".join(f"{p.name} {p.total_memory / GIB:.0f} GiB" for p in properties)
    return f"CUDA {torch.version.cuda}: {names}"


def cpu() -> str:
    """Cores, threads of torch, and the extensions that speed bf16 up."""
    import torch

    # Private names of torch, which come and go between its versions.
    probes = {
        "AMX": "_is_amx_tile_supported",
        "AVX512-bf16": "_is_avx512_bf16_supported",
        "AVX512": "_is_avx512_supported",
        "AVX2": "_is_avx2_supported",
    }
    has = [name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    speed = "fast" if {"AMX", "AVX512-bf16"} & set(has) else "not faster than float32"
    extensions = " ".join(has) or "no vector extensions known"
    threads = torch.get_num_threads()
    return f"cores: {cores}, threads of torch: {threads}; {extensions}; bf16 is {speed}"


def torchvision_ops() -> str:
    """RoIAlign, RoIPool and NMS of torchvision on a small tensor, also on a GPU if there is one."""
    import torch
    from torchvision.ops import nms, roi_align, roi_pool

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for name in devices:
        features = torch.arange(16.0, device=name).reshape(1, 1, 4, 4)
        boxes = torch.tensor([[0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 3.0, 3.0]], device=name)
        scores = torch.tensor([0.5, 0.9], device=name)
        results = (
            roi_align(features, [boxes], 2, aligned=True).shape[0],
            roi_pool(features, [boxes], 1).max().item(),
            nms(boxes, scores, 0.5).tolist(),
        )
        if results != (2, 15.0, [1]):
            tested = pins()
            pair = f"torch {tested.get('torch')} and torchvision {tested.get('torchvision')}"
            raise Broken(
                f"wrong result on {name}: {results}", f"the tested pair is {pair}: {REINSTALL}"
            )
    return f"RoIAlign, RoIPool and NMS work on {' and '.join(devices)}"


def detectron2_ops() -> str:
    """A pooler of Detectron2 on a small tensor, and its lazy configs, on which ours build."""
    import torch
    from detectron2.config import LazyConfig
    from detectron2.modeling.poolers import ROIPooler
    from detectron2.structures import Boxes

    for kind in ("ROIPool", "ROIAlign", "ROIAlignV2"):
        pooler = ROIPooler(2, scales=(1.0,), sampling_ratio=0, pooler_type=kind)
        pooler([torch.ones(1, 1, 4, 4)], [Boxes(torch.tensor([[0.0, 0.0, 3.0, 3.0]]))])
    configs = importlib.resources.files("detectron2") / "model_zoo" / "configs"
    LazyConfig.load(str(configs / "common" / "models" / "mask_rcnn_fpn.py"))
    return "poolers and lazy configs work"


def disk() -> str:
    """Free space beside the checkout."""
    free = shutil.disk_usage(ROOT).free / GIB
    if free < 1:
        raise Broken(f"{free:.1f} GiB", "make room: a run folder takes up to 1 GiB")
    return f"{free:.0f} GiB"


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
