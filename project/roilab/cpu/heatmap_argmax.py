"""The largest value of bicubically enlarged heat maps, without enlarging them whole.

Detectron2's `heatmaps_to_keypoints` enlarges each object's maps to the object's size in pixels and
takes the arg-max there. Nearly all of that is work for places that cannot hold the maximum. Here a
map consists of windows between its cells; the 4 x 4 cells around a window bound the values in it,
and only windows that can reach the value at the largest cell are enlarged. A map that costs less to
enlarge whole, such as the noise of an untrained head, is enlarged by two matrix products.
"""

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from roilab.modeling.decoders import Decoded, bicubic

# Cubic convolution (Keys 1981) with the coefficient that torch uses. On one axis a value is a sum
# of two inner cells with weights of at least 0 and two outer ones with weights of at most 0; the
# weights sum to 1, the outer ones to no less than -3/16. Of a sum over both axes, the weights below
# 0 sum to no less than -_REACH.
_A = -0.75
_OUTER = 3 / 16
_REACH = 2 * _OUTER * (1 + _OUTER)
_ROUNDING = 1e-5  # of such a sum, as a share of its largest term
_BLOCK = 4  # cells a side, whose windows are excluded together where they can be
_WINDOW_COST = 20_000  # multiplications of a matrix product in the time that a window takes
_FEW = 8  # windows, whose cost a search for them does not save
_CHUNK = 1 << 22  # numbers that are held at once, which bounds the memory


def bicubic_by_windows(log_heat: Tensor, boxes: Tensor) -> Decoded:
    """As `roilab.modeling.decoders.bicubic`."""
    return bicubic(log_heat, boxes, argmax=windowed_argmax)


def windowed_argmax(maps: Tensor, heights: Tensor, widths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `roilab.modeling.decoders.enlarged_argmax`, for finite maps.

    Of equal values it is the first in row order, as far as rounding leaves them equal.
    """
    shape = maps.shape[:2]
    flat = maps.flatten(0, 1)
    sizes = torch.stack([heights, widths], dim=1).long().repeat_interleave(shape[1], dim=0)
    # Multiplications that enlarge a map whole: few for a small object.
    products = sizes[:, 0] * flat.shape[2] * (flat.shape[1] + sizes[:, 1])
    whole = products <= _FEW * _WINDOW_COST

    # The largest value around the largest cell excludes the windows that cannot reach it.
    reached = flat.new_full((len(flat),), torch.inf)
    windows = _around_peaks(flat)
    value, _ = _enlarged(flat, windows[~whole[windows[:, 0]]], sizes)
    reached[~whole] = value.unflatten(0, (-1, 4)).amax(dim=1)
    windows = _windows_that_reach(flat, reached)
    whole |= windows[:, 0].bincount(minlength=len(flat)) * _WINDOW_COST > products
    windows = windows[~whole[windows[:, 0]]]

    window_values, window_places = _enlarged(flat, windows, sizes)
    whole_values, whole_places = _enlarged_whole(flat, whole, sizes)
    value = torch.cat([window_values, whole_values])
    place = torch.cat([window_places, whole_places])
    number = torch.cat([windows[:, 0], whole.nonzero()[:, 0]])

    # Of each map the largest value, and the first place that has it.
    largest = flat.new_full((len(flat),), -torch.inf).scatter_reduce(0, number, value, "amax")
    nowhere = torch.iinfo(torch.long).max
    place = place.masked_fill(value < largest[number], nowhere)
    first = place.new_full((len(flat),), nowhere).scatter_reduce(0, number, place, "amin")
    first = first.masked_fill(first == nowhere, 0).view(shape)  # 0: a map that is not finite
    across = widths.long()[:, None]
    return first % across, first // across, largest.view(shape)


def _enlarged_whole(maps: Tensor, mask: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """As `_enlarged`, for whole maps: those of M that a mask selects."""
    number = mask.nonzero()[:, 0]
    value, place = maps.new_zeros(len(number)), number.new_zeros(len(number))
    for part in _alike(sizes[number]):
        size = sizes[number[part]]
        down, across = (
            resizing_weights(side, int(side.max()), cells, maps.dtype)
            for side, cells in zip(size.unbind(1), maps.shape[1:], strict=True)
        )
        grid = down @ maps[number[part]] @ across.mT
        value[part], index = grid.flatten(1).max(dim=1)
        # Rows and columns beyond a map's own repeat its last: the first of equals is never there.
        place[part] = index // grid.shape[2] * size[:, 1] + index % grid.shape[2]
    return value, place


def resizing_weights(size: Tensor, most: int, cells: int, dtype: torch.dtype) -> Tensor:
    """B x most x cells, the weights of all cells on an axis for each pixel of maps of B sizes.

    Beyond a map's own size its last pixel is repeated.
    """
    pixel = torch.arange(most, device=size.device).minimum(size[:, None] - 1)
    at = (pixel + 0.5) * (cells / size.to(dtype))[:, None] - 0.5
    cell = at.floor()
    tap = cell[:, :, None].long() + torch.arange(-1, 3, device=size.device)
    weights = torch.stack(_cubic(at - cell), dim=2)
    return weights.new_zeros(*at.shape, cells).scatter_add(2, tap.clamp(0, cells - 1), weights)


def _alike(sides: Tensor) -> Iterator[Tensor]:
    """Indices of B x 2 sides in parts of like ones: each costs what the largest of a part does."""
    octaves = sides.double().log2().long()
    kinds, order = (octaves[:, 0] * 64 + octaves[:, 1]).sort()
    _, counts = kinds.unique_consecutive(return_counts=True)
    for kind in order.split(counts.tolist()):
        if len(kind):
            largest = int(sides[kind].amax(dim=0).prod())
            yield from kind.split(max(1, _CHUNK // 8 // largest))


def _around_peaks(maps: Tensor) -> Tensor:
    """The four windows that touch the largest cell of each map: 4M x 3, map, row and column."""
    peak = maps.flatten(1).max(dim=1).indices if len(maps) else maps.new_zeros(0).long()
    number = torch.arange(len(peak), device=peak.device)
    cell = torch.stack([number, peak // maps.shape[2], peak % maps.shape[2]], dim=1)
    steps = cell.new_tensor([[0, -1, -1], [0, -1, 0], [0, 0, -1], [0, 0, 0]])
    return (cell[:, None] + steps).flatten(0, 1)


def _windows_that_reach(maps: Tensor, reached: Tensor) -> Tensor:
    """The windows of M x H x W maps in which a value of at least `reached`, M, is possible.

    Returns B x 3, map, row and column; window (y, x) lies between the cells (y, x) and
    (y + 1, x + 1).
    """
    reached = reached - _ROUNDING * reached.abs()
    # A value exceeds the largest cell around it by _REACH of their range at most: some cell around
    # has at least this much.
    lowest = maps.flatten(1).amin(dim=1) if len(maps) else reached
    least = (reached + _REACH * lowest) / (1 + _REACH)
    down, across = (-side % _BLOCK for side in maps.shape[1:])
    padded = F.pad(maps, (0, across, 0, down), value=-torch.inf) if down or across else maps
    blocks = padded.unflatten(1, (-1, _BLOCK)).amax(dim=2).unflatten(2, (-1, _BLOCK)).amax(dim=3)
    # The cells around a window that begins in a block lie in it or in the blocks beside it.
    hot = F.pad(blocks >= least[:, None, None], (1, 1, 1, 1))
    hot = hot[:, :-2] | hot[:, 1:-1] | hot[:, 2:]
    hot = hot[:, :, :-2] | hot[:, :, 1:-1] | hot[:, :, 2:]
    windows = [hot.new_zeros(0, 3, dtype=torch.long)]
    for part in hot.nonzero().split(_CHUNK // (_BLOCK + 4) ** 2):
        # Windows that begin in a block, and the cell before it, where the first ones of a map are.
        corner = part * part.new_tensor([1, _BLOCK, _BLOCK]) - part.new_tensor([0, 1, 1])
        ceiling = _ceiling(_patches(maps, corner, _BLOCK + 4))
        within = (ceiling >= reached[part[:, 0]]).nonzero()
        window = corner[within[:, 2]]
        window[:, 1:] += within[:, :2]
        # The ones before a block are the last of the block before.
        windows.append(window[((within[:, :2] > 0) | (window[:, 1:] < 0)).all(dim=1)])
    return torch.cat(windows)


def _patches(maps: Tensor, corner: Tensor, side: int) -> Tensor:
    """side x side x B cells from one before B x 3 corners on, each of a map, a row and a column.

    Outside a map is its border once more. B comes last, here and below: sums over long rows are
    fast, those over a few cells are not.
    """
    height, width = maps.shape[1:]
    steps = torch.arange(-1, side - 1, device=maps.device)[:, None]
    y = (corner[:, 1] + steps).clamp(0, height - 1) + corner[:, 0] * height
    x = (corner[:, 2] + steps).clamp(0, width - 1)
    return maps.flatten()[y[:, None] * width + x[None]]


def _ceiling(patches: Tensor) -> Tensor:
    """An upper bound of the values in each window of S x S x B patches, (S - 3) x (S - 3) x B."""
    inner = patches[:, 1:-2], patches[:, 2:-1]
    outer = patches[:, :-3], patches[:, 3:]
    # First across, for every row of cells; then down, for the bounds of the four rows.
    high = torch.maximum(*inner)
    low = torch.minimum(*inner)
    upper = high + _OUTER * (high - torch.minimum(*outer)).clamp(min=0)
    lower = low - _OUTER * (torch.maximum(*outer) - low).clamp(min=0)
    high = torch.maximum(upper[1:-2], upper[2:-1])
    low = torch.minimum(lower[:-3], lower[3:])
    return high + _OUTER * (high - low).clamp(min=0)


def _enlarged(maps: Tensor, windows: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """The largest enlarged value in each of B x 3 windows, map, row and column, and where it is.

    Args:
        maps: M x H x W.
        sizes: M x 2, height and width of the enlarged map.

    Returns:
        Value, -inf where no pixel falls in the window, and row * width + column in the enlarged
        map, each B.
    """
    value, place = maps.new_zeros(len(windows)), windows.new_zeros(len(windows))
    for part in _alike(sizes[windows[:, 0]] // sizes.new_tensor(maps.shape[1:]) + 2):
        value[part], place[part] = _enlarge(maps, windows[part], sizes[windows[part, 0]])
    return value, place


def _enlarge(maps: Tensor, windows: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """As `_enlarged`, all at once, for B x 2 sizes; what it holds is free before the next part."""
    rows, down, any_row = _axis(windows[:, 1], sizes[:, 0], maps.shape[1], maps.dtype)
    cols, across, any_col = _axis(windows[:, 2], sizes[:, 1], maps.shape[2], maps.dtype)
    # 4 x 4 x B cells; summed across to 4 x columns x B, and down to rows x columns x B.
    patch = _patches(maps, windows, 4)
    lines = reduce(torch.add, (patch[:, j, None] * across[j] for j in range(4)))
    grid = reduce(torch.add, (lines[i] * down[i][:, None] for i in range(4)))
    value, index = grid.flatten(0, 1).max(dim=0)
    row = rows.gather(0, index[None] // grid.shape[1])[0]
    col = cols.gather(0, index[None] % grid.shape[1])[0]
    return value.masked_fill(~(any_row & any_col), -torch.inf), row * sizes[:, 1] + col


def _axis(
    window: Tensor, size: Tensor, cells: int, dtype: torch.dtype
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The pixels along one axis that fall in a window, and the weights of the four cells around.

    Args:
        window: B, from -1, before the first cell, to cells - 1, after the last.
        size: B, pixels of the enlarged maps on this axis.
        cells: of the maps on this axis.

    Returns:
        P x B pixel numbers, the last one repeated where a window has fewer than P; four times P x B
        weights; B, whether there is any pixel.
    """
    scale = cells / size.to(dtype)
    # Pixel p lies at (p + 1/2) scale - 1/2 in cells.
    start, stop = ((torch.stack([window, window + 1]) + 0.5) / scale - 0.5).ceil().long()
    start, stop = start.clamp(min=0), stop.minimum(size)
    most = max(1, int((stop - start).max()))
    pixel = (start + torch.arange(most, device=size.device)[:, None]).minimum(stop - 1)
    return pixel, _cubic((pixel + 0.5) * scale - 0.5 - window), stop > start


def _cubic(t: Tensor) -> list[Tensor]:
    """The weights of the four cells around a place `t` after the second of them."""
    s = 1 - t
    return [
        ((_A * (t + 1) - 5 * _A) * (t + 1) + 8 * _A) * (t + 1) - 4 * _A,
        ((_A + 2) * t - (_A + 3)) * t * t + 1,
        ((_A + 2) * s - (_A + 3)) * s * s + 1,
        ((_A * (s + 1) - 5 * _A) * (s + 1) + 8 * _A) * (s + 1) - 4 * _A,
    ]
