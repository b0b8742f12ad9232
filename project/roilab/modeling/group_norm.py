"""GroupNorm's gradient on the CPU for features with their channels innermost.

PyTorch's takes two to three times as long for this layout as for the other. Here it is a few passes
over some images at a time, which stay in the processor's cache.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_VALUES = 2**20  # at a time
_LEAST_VALUES = 2**18  # below, a few passes take longer than one of PyTorch's


class ChannelsLastGroupNorm(nn.GroupNorm):
    """GroupNorm ("Group Normalization", arXiv 1803.08494), with another gradient where it pays."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        exact = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        on_cpu = x.device.type == "cpu" and x.numel() >= _LEAST_VALUES
        if not (last and exact and on_cpu and self.affine):
            return super().forward(x)
        normalised: Tensor = _GroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return normalised


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        n, c, height, width = x.shape
        y, mean, scale = torch.native_group_norm(x, weight, bias, n, c, height * width, groups, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        (n, c, height, width), groups = x.shape, mean.shape[1]
        x, of_y = (each.permute(0, 2, 3, 1).flatten(1, 2) for each in (x, gradients[0]))
        of_x = torch.empty_like(x)
        # Over the cells of each image and channel.
        of_bias, products = x.new_empty(n, c), x.new_empty(n, c)
        step = max(1, _VALUES // max(1, x[:1].numel()))
        for i in range(0, n, step):
            part = slice(i, i + step)
            seen, given = x[part], of_y[part]
            of_bias[part] = given.sum(1)
            products[part] = torch.mul(given, seen, out=of_x[part]).sum(1)

            def of_groups(sums: Tensor) -> Tensor:
                return (sums * weight).unflatten(1, (groups, -1)).sum(2)

            # x is normalised by its mean and variance, which depend on it, too.
            sums, products_ = of_groups(of_bias[part]), of_groups(products[part])
            count = height * width * (c // groups)
            slope = (sums * mean[part] - products_) * scale[part] ** 3 / count
            offset = -slope * mean[part] - sums * scale[part] / count
            slope, offset, factor = (
                each.repeat_interleave(c // groups, dim=1)[:, None]
                for each in (slope, offset, scale[part])
            )
            torch.addcmul(offset, seen, slope, out=of_x[part])
            of_x[part].addcmul_(given, factor * weight)
        mean, scale = (each.repeat_interleave(c // groups, dim=1) for each in (mean, scale))
        of_weight = ((products - mean * of_bias) * scale).sum(0)
        of_x = of_x.unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return of_x, of_weight, of_bias.sum(0), None, None
