"""Check the installation: versions, the device, and a remedy for whatever fails.

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GIB = 1024**3

# Module, and the name under which it is installed.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pycocotools.mask": "pycocotools",
    "fvcore": "fvcore",
    "iopath": "iopath",
    "omegaconf": "omegaconf",
    "hydra": "hydra-core",
    "shapely": "shapely",
    "matplotlib": "matplotlib",
    "tensorboard": "tensorboard",
    "rich": "rich",
    "roilab": "roilab",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was checked, the result, and a remedy if it does not work."""

    name: str
    result: str
    remedy: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
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
        exit_with(lambda: verify_folder(args.run, args.accept))
    return installation()


def verify_folder(folder: Path, accepted: Sequence[str] | None) -> int:
    """Print the state of each file of a run; returns 1 if one is damaged or gone.

    Args:
        accepted: names of files to accept before; empty: all; None: none.
    """
    from roilab.cli.console import say, with_options
    from roilab.engine.lock import locked
    from roilab.engine.run_folder import Run, verify_run
    from roilab.engine.run_record import RECORD, accept
    from roilab.escaping import one_line

    if accepted is not None:
        with locked(Run(folder).lock_file):
            accept(folder, accepted or [s.name for s in verify_run(folder) if s.name != RECORD])
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
    """Print every finding; returns 1 if one needs a remedy."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checks: list[tuple[str, Callable[[], Finding]]] = [("Python", python)]
    checks += [(name, partial(package, name)) for name in PACKAGES]
    checks += [
        ("detectron2", detectron2),
        ("device", device),
        ("CPU", cpu),
        ("torchvision ops", torchvision_ops),
        ("Detectron2 ops", detectron2_ops),
        ("free disk", disk),
    ]
    broken = 0
    for name, check in checks:
        try:
            finding = check()
        # Whatever a broken installation raises is a finding, and the other checks still run.
        except Exception as error:
            finding = Finding(name, "does not work: " + first_line(error), REINSTALL)
        print(f"{finding.name:<18}{finding.result}", flush=True)
        if finding.remedy:
            broken += 1
            print(f"{'':<18}remedy: {finding.remedy}", flush=True)
    print(f"\n{broken} of {len(checks)} need a remedy" if broken else "\nall works")
    return 1 if broken else 0


def python() -> Finding:
    """The interpreter that runs this."""
    return Finding("Python", f"{platform.python_version()} at {sys.executable}")


def package(module: str) -> Finding:
    """One package: its version, and the tested version where they differ."""
    distribution = PACKAGES[module]
    name = module.split(".")[0]
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == name:
            return Finding(name, "missing", REINSTALL)
        return Finding(name, "does not import: " + first_line(error), REINSTALL)
    version = installed_version(distribution) or str(getattr(loaded, "__version__", "no version"))
    tested = pins().get(distribution)
    note = "" if tested in (None, version) else f" (tested: {tested})"
    if module == "omegaconf" and not version.startswith(("2.1.", "2.2.", "2.3.")):
        return Finding(name, version, "Detectron2's lazy configs need omegaconf<2.4; " + REINSTALL)
    return Finding(name, f"{version}{note}")


def installed_version(distribution: str) -> str | None:
    """The version in the metadata of a package; None without metadata."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def pins() -> dict[str, str]:
    """Tested version by package, from requirements/lock.txt; empty if that is missing."""
    path = ROOT / "requirements" / "lock.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split(";")[0].strip().partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pairs}


def detectron2() -> Finding:
    """The version of Detectron2, its place, and whether its compiled part loads."""
    try:
        loaded = importlib.import_module("detectron2")
    except ModuleNotFoundError as error:
        if error.name == "detectron2":
            return Finding("detectron2", "missing", REINSTALL)
        raise
    place = Path(str(loaded.__file__)).parent
    owners = importlib.metadata.packages_distributions().get("detectron2", [])
    owner = " ".join(f"{name} {installed_version(name)}" for name in owners) or "not from a package"
    try:
        importlib.import_module("detectron2._C")
        compiled = "with compiled ops"
    except ImportError:
        compiled = "without compiled ops, which RoILab does not use"
    return Finding("detectron2", f"{loaded.__version__} at {place} ({owner}; {compiled})")


def device() -> Finding:
    """The GPU, or the CPU if there is none."""
    import torch

    if not torch.cuda.is_available():
        return Finding("device", "CPU (no CUDA device)")
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    names = ", ".join(f"{p.name} {p.total_memory / GIB:.0f} GiB" for p in properties)
    return Finding("device", f"CUDA {torch.version.cuda}: {names}")


def cpu() -> Finding:
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
    return Finding(
        "CPU",
        f"cores: {cores}, threads of torch: {torch.get_num_threads()};"
        f" {' '.join(has) or 'no vector extensions known'}; bf16 is {speed}",
    )


def torchvision_ops() -> Finding:
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
            return Finding("torchvision ops", f"wrong result on {name}: {results}", pair_remedy())
    return Finding("torchvision ops", f"RoIAlign, RoIPool and NMS work on {' and '.join(devices)}")


def pair_remedy() -> str:
    """The remedy for a torch and a torchvision that do not fit each other."""
    tested = pins()
    pair = f"torch {tested.get('torch')} and torchvision {tested.get('torchvision')}"
    return f"the tested pair is {pair}: {REINSTALL}"


def detectron2_ops() -> Finding:
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
    return Finding("Detectron2 ops", "poolers and lazy configs work")


def disk() -> Finding:
    """Free space beside the checkout."""
    free = shutil.disk_usage(ROOT).free / GIB
    if free < 1:
        return Finding("free disk", f"{free:.1f} GiB", "make room: a run folder takes up to 1 GiB")
    return Finding("free disk", f"{free:.0f} GiB")


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


if __name__ == "__main__":
    sys.exit(main())
