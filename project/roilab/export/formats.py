"""The formats of an exported model: writing a file, and running it as its user will.

All come from the same `Detector`: ONNX from the program of `torch.export`, TorchScript by tracing.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision  # noqa: F401 - the operators that files in PyTorch's own formats name
from torch import Tensor

from roilab.errors import UserError
from roilab.export.detector import INPUTS, Detector

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]
Runner = Callable[[Array, tuple[int, int]], Outputs]

FORMATS = ("onnx", "torchscript", "exported-program")
OPSET = 18
# Where the formats of PyTorch hold what ONNX has as properties.
METADATA_FILE = "metadata.json"
# Any size will do, but one of 1 would be taken for a constant.
_EXAMPLE = (192, 256)


def serialise(detector: Detector, format: str, metadata: Mapping[str, Any]) -> bytes:
    """The file of a detector in one of `FORMATS`.

    Raises:
        UserError: PyTorch's exporter refuses the model, or ONNX is not installed.
    """
    writer = {"onnx": _onnx, "torchscript": _torchscript, "exported-program": _exported}[format]
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # They name shapes that become constants; the image's do not, as the check shows.
            warnings.simplefilter("ignore")
            logger.setLevel(logging.ERROR)
            return writer(detector, metadata)
    except ImportError as error:
        raise UserError(
            "a package that this format needs is not installed",
            key="format",
            found=error,
            remedy="pip install onnx onnxruntime onnxscript",
        ) from error
    except Exception as error:  # of the exporters' many kinds
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UserError(
            "the model cannot be exported in this format",
            key="format",
            found=f"{format} ({type(error).__name__}: {reason})",
        ) from error
    finally:
        logger.setLevel(level)


def _onnx(detector: Detector, metadata: Mapping[str, Any]) -> bytes:
    import onnxruntime  # noqa: F401 - needed later: refuse before the work, not after it
    import onnxscript  # noqa: F401

    model = onnx_program(_recorded(detector), output_names=detector.outputs).model_proto
    del model.graph.value_info[:]  # sizes under names that say nothing
    # Words for the sizes that the exporter numbers.
    words = {
        "image": ("h", "w"),
        "boxes": ("instances",),
        "masks": ("instances", "height", "width"),
    }
    names: dict[str, str] = {}
    values = (*model.graph.input, *model.graph.output)
    for value in values:
        sizes = value.type.tensor_type.shape.dim
        for size, word in zip(sizes, words.get(value.name, ()), strict=False):
            names.setdefault(size.dim_param, word)
    for value in values:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = names.get(size.dim_param, size.dim_param)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    content: bytes = model.SerializeToString()
    return content


def onnx_program(program: torch.export.ExportedProgram, **options: Any) -> Any:
    """The ONNX program of a recorded one; options are those of `torch.onnx.export`."""
    return torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        custom_translation_table={torch.ops.torchvision.roi_pool.default: _max_roi_pool},
        verbose=False,
        **options,
    )


def _max_roi_pool(
    features: Any, rois: Any, spatial_scale: float, pooled_height: int, pooled_width: int
) -> Any:
    """torchvision's roi_pool, whose second output only its gradient needs."""
    from onnxscript import opset18

    shape = (pooled_height, pooled_width)
    pooled = opset18.MaxRoiPool(features, rois, pooled_shape=shape, spatial_scale=spatial_scale)
    return pooled, opset18.Identity(pooled)


def _torchscript(detector: Detector, metadata: Mapping[str, Any]) -> bytes:
    traced = torch.jit.trace(detector, _example(), check_trace=False)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files={METADATA_FILE: json.dumps(metadata)})
    return buffer.getvalue()


def _exported(detector: Detector, metadata: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    extra = {METADATA_FILE: json.dumps(metadata)}
    torch.export.save(_recorded(detector), buffer, extra_files=extra)
    return buffer.getvalue()


def _recorded(detector: Detector) -> torch.export.ExportedProgram:
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {"image": {0: dynamic, 1: dynamic}, "size": None}
    return torch.export.export(detector, _example(), dynamic_shapes=shapes, strict=False)


def _example() -> tuple[Tensor, Tensor]:
    return torch.zeros(*_EXAMPLE, 3, dtype=torch.uint8), torch.tensor(_EXAMPLE)


def runner(content: bytes, format: str, outputs: tuple[str, ...]) -> Runner:
    """A function that runs an exported file.

    It takes an image resized for the model and the size (height, width) of the original, and
    returns the outputs by name.
    """
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

        def run_onnx(image: Array, size: tuple[int, int]) -> Outputs:
            inputs = dict(zip(INPUTS, (image, np.array(size, np.int64)), strict=True))
            return dict(zip(outputs, session.run(outputs, inputs), strict=True))

        return run_onnx

    model: Any
    if format == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
            model = torch.jit.load(io.BytesIO(content))
    else:
        # Guards refuse images that give a map of one cell, for which the graph holds.
        model = torch.export.load(io.BytesIO(content)).module(check_guards=False)

    def run(image: Array, size: tuple[int, int]) -> Outputs:
        with torch.inference_mode():
            values = model(torch.from_numpy(image), torch.tensor(size))
        return dict(zip(outputs, (value.numpy() for value in values), strict=True))

    return run
