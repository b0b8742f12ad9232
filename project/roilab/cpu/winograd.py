"""3x3 convolutions on the CPU with a quarter of the multiplications.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308, Sec. 4.1): each tile of
4 x 4 outputs takes 36 products a pair of channels in place of 144. Forward and both gradients are
batches of matrix products between transforms of tiles. In float32 the result differs from the
direct sum by about 1e-5 of its largest value, less than TF32 on a GPU by a factor of a hundred.
"""

import functools
import math
import threading
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

_OUT, _IN = 4, 6  # cells a side of a tile's output and of its input
_TILES = 128  # at a time: their transforms stay in the processor's cache
# Below, the transforms cost more than they save: of the filters' gradient, whose direct sum is the
# slowest of the three; of the input's; and of the convolution itself.
_LEAST_TILES = 64
_LEAST_CHANNELS, _LEAST_CHANNELS_INPUT, _LEAST_CHANNELS_FORWARD = 64, 96, 128


class WinogradConv2d(Conv2d):
    """Detectron2's Conv2d by Winograd where that pays: for large float32 inputs on the CPU.

    Args:
        conv: the layer in whose place it stands, and whose parameters, norm and activation it
            shares; torch's own Conv2d has neither of the last two.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            padding=1,
            bias=conv.bias is not None,
            norm=getattr(conv, "norm", None),
            activation=getattr(conv, "activation", None),
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """N x in x H x W to N x out x H x W."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or not self.pays(x.shape):
            x = F.conv2d(x, self.weight, self.bias, padding=1)
        else:
            x = WinogradConvolution.apply(x, self.weight, self.bias)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)

    def pays(self, shape: torch.Size) -> bool:
        """Whether an input of this shape is large enough, and stays float32."""
        n, _, height, width = shape
        tiles = n * -(-height // _OUT) * -(-width // _OUT)
        least = min(self.in_channels, self.out_channels) >= _LEAST_CHANNELS
        return least and tiles >= _LEAST_TILES and not torch.is_autocast_enabled("cpu")


class WinogradConvolution(torch.autograd.Function):
    """`F.conv2d(x, weight, bias, padding=1)` up to rounding: N x D x H x W in the input's layout.

    `x` is N x C x H x W, float32 or float64, `weight` D x C x 3 x 3.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if min(weight.shape[:2]) < _LEAST_CHANNELS_FORWARD:
            return F.conv2d(x, weight, bias, padding=1)
        return _by_tiles(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (of_y,) = gradients
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0] and min(weight.shape[:2]) >= _LEAST_CHANNELS_INPUT:
            of_x = _by_tiles(of_y, weight.flip(2, 3).transpose(0, 1))
        elif ctx.needs_input_grad[0]:
            of_x = conv2d_input(x.shape, weight, of_y, padding=1)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(x, of_y)
        if ctx.needs_input_grad[2]:
            of_bias = of_y.sum((0, 2, 3))
        return of_x, of_weight, of_bias


def _by_tiles(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution. T is the number of tiles in a part, and 36 are the cells of a tile."""
    tiles = _Tiles(x)
    matrix = _matrix("filter", x.dtype)
    transformed = _scratch.take("filters", x.dtype, _IN**2, *weight.shape[:2])  # 36 x D x C
    cells = weight.permute(2, 3, 0, 1).reshape(9, -1)
    torch.mm(torch.kron(matrix, matrix), cells, out=transformed.view(_IN**2, -1))
    y = x.new_empty(tiles.n, tiles.rows, _OUT, tiles.columns, _OUT, len(weight))
    for part in tiles.parts():
        seen = tiles.seen(part)
        products = _scratch.take("products", x.dtype, *seen.shape[:2], len(weight))  # 36 x T x D
        torch.bmm(seen, transformed.transpose(1, 2), out=products)
        cells = _scratch.transform("cells", _matrix("output", x.dtype), products)
        y[part] = cells.view(_OUT, _OUT, *tiles.shape(part), -1).permute(2, 3, 0, 4, 1, 5)
    if bias is not None:
        y += bias
    # Without what the last tiles have beyond the map.
    inside = y.flatten(3, 4).flatten(1, 2)[:, : tiles.height, : tiles.width]
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return inside.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _of_weight(x: Tensor, of_y: Tensor) -> Tensor:
    """The gradient of the filters, D x C x 3 x 3: that of their transforms, summed over tiles."""
    tiles = _Tiles(x)
    matrix = _matrix("filter", x.dtype)
    d, c = of_y.shape[1], x.shape[1]
    of_filters = x.new_zeros(_IN**2, d, c)
    # The last tiles may reach beyond the map, where the gradient is 0.
    across = _OUT * tiles.columns - tiles.width
    down = _OUT * tiles.rows - tiles.height
    full = of_y.permute(0, 2, 3, 1)
    full = F.pad(full, (0, 0, 0, across, 0, down)) if across or down else full
    outputs = full.reshape(tiles.n, tiles.rows, _OUT, tiles.columns, _OUT, d)
    for part in tiles.parts():
        cells = _scratch.copy("cells", outputs[part].permute(2, 4, 0, 1, 3, 5))
        errors = _scratch.transform("errors", _matrix("output", x.dtype).t(), cells)
        of_filters.baddbmm_(errors.view(_IN**2, -1, d).transpose(1, 2), tiles.seen(part))
    of_weight = torch.kron(matrix, matrix).t() @ of_filters.view(_IN**2, -1)
    return of_weight.view(3, 3, d, c).permute(2, 3, 0, 1)


class _Tiles:
    """Tiles of 6 x 6 cells of N x C x H x W inputs; neighbours share two rows or columns."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.n, self.channels, self.height, self.width = x.shape
        self.rows, self.columns = -(-self.height // _OUT), -(-self.width // _OUT)

    def parts(self) -> Iterator[tuple[slice, slice]]:
        """Slices of images and of tile rows, of some `_TILES` tiles each."""
        rows = max(1, min(self.rows, _TILES // self.columns))
        images = max(1, _TILES // (self.rows * self.columns))
        for i in range(0, self.n, images):
            for r in range(0, self.rows, rows):
                yield slice(i, min(i + images, self.n)), slice(r, min(r + rows, self.rows))

    def seen(self, part: tuple[slice, slice]) -> Tensor:
        """The transforms of a part's tiles, 36 x T x C; around the map are zeros."""
        n, rows, columns = self.shape(part)
        height, width = _OUT * rows + 2, _OUT * columns + 2
        padded = _scratch.take("padded", self.x.dtype, n, height, width, self.channels).zero_()
        first = _OUT * part[1].start - 1
        begin, end = max(first, 0), min(first + height, self.height)
        source = self.x[part[0], :, begin:end].permute(0, 2, 3, 1)
        padded[:, begin - first : end - first, 1 : 1 + self.width] = source

        # A view in which neighbouring tiles overlap: 6 x 6 x images x rows x columns x channels.
        image, row, column, channel = padded.stride()
        overlapping = padded.as_strided(
            (_IN, _IN, n, rows, columns, self.channels),
            (row, column, image, _OUT * row, _OUT * column, channel),
        )
        cells = _scratch.copy("cells", overlapping)
        seen = _scratch.transform("seen", _matrix("input", self.x.dtype), cells)
        return seen.view(_IN**2, -1, self.channels)

    def shape(self, part: tuple[slice, slice]) -> tuple[int, int, int]:
        """Images, rows and columns of a part."""
        images, rows = part
        return images.stop - images.start, rows.stop - rows.start, self.columns


class _Scratch(threading.local):
    """Memory of each thread that is used again and again: fresh pages cost as much as products."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, dtype: torch.dtype, *shape: int) -> Tensor:
        """A buffer of any content."""
        size = math.prod(shape)
        key = (name, dtype)
        if key not in self.kept or len(self.kept[key]) < size:
            with torch.inference_mode(False):  # what it gives may be written to in training, too
                self.kept[key] = torch.empty(size, dtype=dtype)
        return self.kept[key][:size].view(shape)

    def copy(self, name: str, source: Tensor) -> Tensor:
        return self.take(name, source.dtype, *source.shape).copy_(source)

    def transform(self, name: str, matrix: Tensor, cells: Tensor) -> Tensor:
        """The matrix times a tile times the matrix transposed, a x a x the product of the rest.

        The matrix is a x b, and tiles are b x b x ..., or flattened to b^2 x ...
        """
        a, b = matrix.shape
        rest = cells.numel() // b**2
        down = self.take("down", cells.dtype, a, b, rest)
        torch.mm(matrix, cells.view(b, -1), out=down.view(a, -1))
        out = self.take(name, cells.dtype, a, a, rest)
        return torch.bmm(matrix.expand(a, a, b), down, out=out)


_scratch = _Scratch()


def give_scratch_back() -> None:
    """Free the memory that this thread's convolutions keep from one to the next."""
    _scratch.kept.clear()


@functools.cache
def _matrix(kind: str, dtype: torch.dtype) -> Tensor:
    return torch.tensor(_MATRICES[kind], dtype=torch.float64).to(dtype)


# B^T, G and A^T of F(4x4, 3x3).
_MATRICES = {
    "input": [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    "filter": [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    "output": [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
}
