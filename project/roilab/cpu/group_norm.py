"""GroupNorm's gradient on the CPU for features with their channels innermost.

PyTorch's takes two to three times as long for this layout as for the other, and even longer in
bfloat16. Here bfloat16 values are summed in float32, an image at a time.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEAST_VALUES = 2**19  # below, a few passes take longer than one of PyTorch's


class ChannelsLastGroupNorm(nn.GroupNorm):
    """GroupNorm ("Group Normalization", arXiv 1803.08494) with another gradient where it pays.

    It shares the parameters of the layer in whose place it stands.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        is_large = x.device.type == "cpu" and x.numel() >= _LEAST_VALUES
        has_kernel = self.affine and x.dtype in (torch.float32, torch.bfloat16)
        if not (last and is_large and has_kernel):
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
        n, c, height, width = x.shape
        groups = mean.shape[1]
        of_y = gradients[0].contiguous(memory_format=torch.channels_last)
        # Over the cells of each image and channel: of the gradient, and of its products with x.
        wide = torch.promote_types(x.dtype, torch.float32)
        sums = [_sums(of_y[i : i + 1].to(wide), x[i : i + 1].to(wide)) for i in range(n)]
        of_bias, products = (torch.stack(parts) for parts in zip(*sums, strict=True))

        def of_groups(sums: Tensor) -> Tensor:
            return (sums * weight).unflatten(1, (groups, -1)).sum(2)

        # x is normalised by its mean and variance, which depend on it, too.
        count = height * width * (c // groups)
        slope = (of_groups(of_bias) * mean - of_groups(products)) * scale**3 / count
        offset = -slope * mean - of_groups(of_bias) * scale / count
        slope, offset, mean, scale = (
            value.repeat_interleave(c // groups, dim=1) for value in (slope, offset, mean, scale)
        )
        factor = scale * weight

        # The gradient of x is gradient of y * factor + x * slope + offset, for each channel.
        of_x = torch.empty_like(x)
        exact = x.dtype == wide
        for i in range(n):
            slopes, offsets, factors = (v[i, :, None, None] for v in (slope, offset, factor))
            place = of_x[i] if exact else None
            of_image = torch.addcmul(offsets, x[i].to(wide), slopes, out=place)
            of_image.addcmul_(of_y[i].to(wide), factors)
            if not exact:
                of_x[i] = of_image
        of_weight = ((products - mean * of_bias) * scale).sum(0)
        return of_x, of_weight, of_bias.sum(0), None, None


def _sums(of_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of a gradient and of its products with x, for each channel, from one reading.

    They are those of a batch norm whose mean is 0 and whose deviation is 1. Both tensors are
    1 x C x H x W, channels last.
    """
    statistics = (None, None, None, x.new_zeros(x.shape[1]), x.new_ones(x.shape[1]), True, 0.0)
    masks = [False, True, True]  # no gradient of x
    _, products, sums = torch.ops.aten.native_batch_norm_backward(of_y, x, *statistics, masks)
    return sums, products
