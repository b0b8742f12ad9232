"""A part of a model in each format, as its files run it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from roilab.export.formats import FORMATS, onnx_program

Call = Callable[..., list[np.ndarray]]


def recorded(part: nn.Module, inputs: Sequence[Tensor], dynamic: Any) -> dict[str, Call]:
    """What runs a part in each format.

    Args:
        inputs: an example; tensors.
        dynamic: for each of them the sizes that vary, as `torch.export` wants them.
    """
    part = part.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that become constants, as they may
        traced = torch.jit.trace(part, tuple(inputs), check_trace=False)
        program = torch.export.export(part, tuple(inputs), dynamic_shapes=dynamic, strict=False)
        content = onnx_program(program, optimize=False).model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options)

    def in_torch(model: Any) -> Call:
        def call(*arrays: Tensor) -> list[np.ndarray]:
            with torch.inference_mode():
                output = model(*arrays)
            return [value.numpy() for value in ([output] if isinstance(output, Tensor) else output)]

        return call

    def in_onnx(*arrays: Tensor) -> list[np.ndarray]:
        names = [argument.name for argument in session.get_inputs()]
        tensors = dict(zip(("a", "b", "c", "d"), arrays, strict=False))
        return session.run(None, {name: tensors[name].numpy() for name in names})

    calls = (in_onnx, in_torch(traced), in_torch(program.module()))
    return dict(zip(FORMATS, calls, strict=True))
