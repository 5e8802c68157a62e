"""Convolutions with few output positions, as one matrix product: the same values within rounding, in less time.

On CPUs, libraries compute a convolution row by row of its output, which leaves most of a matrix unit idle when a row
has two values. The last stage of a ResNet on images of 64 x 64 pixels is such a case. Here the values under the kernel
are gathered for all images and positions, (N * positions, k * l * C), and multiplied by the kernel, whose channels-last
memory is already the matrix (D, k * l * C). ``python -m tests.bench.bench_small_maps`` prints the ratio.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

FEW = 4
"""Most output positions of a convolution for which the product is faster."""
Pair = tuple[int, int]


def applies(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    """Whether ``convolve`` computes this convolution of ``x`` (N, C, H, W) by ``weight`` (D, C, k, l), and faster."""
    if x.ndim != 4 or x.device.type != "cpu" or dilation != (1, 1) or groups != 1:
        return False
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    height, width = ((size + 2 * edge - kernel) // step + 1 for size, kernel, step, edge in sizes)
    return 0 < height * width <= FEW


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """The convolution, (N, C, H, W) to channels-last (N, D, H', W'), in bfloat16 under autocast, else in x's format."""
    if torch.is_autocast_enabled("cpu"):
        x, weight = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (x, weight))
    out: Tensor = _Product.apply(x, weight, stride, padding)
    return out if bias is None else out + bias.to(out.dtype)[:, None, None]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        (down, right), (above, left), (count, _, *kernel) = stride, padding, weight.shape
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
        windows = padded.unfold(1, kernel[0], down).unfold(2, kernel[1], right)  # (N, H', W', C, k, l)
        number, height, width = windows.shape[:3]
        gathered = windows.permute(0, 1, 2, 4, 5, 3).reshape(number * height * width, -1)
        matrix = weight.permute(0, 2, 3, 1).reshape(count, -1)
        ctx.save_for_backward(gathered, matrix)
        ctx.stride, ctx.padding, ctx.padded, ctx.kernel = stride, padding, padded.shape, kernel
        return F.linear(gathered, matrix).view(number, height, width, count).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gathered, matrix = ctx.saved_tensors
        (rows, columns), (number, _, height, width) = ctx.kernel, gradient.shape
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
        of_x = of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (flat.T @ gathered).view(len(matrix), rows, columns, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[0]:
            of_x = _scattered((flat @ matrix).view(number, height, width, rows, columns, -1), ctx)
        return of_x, of_weight, None, None


def _scattered(parts: Tensor, ctx: Any) -> Tensor:
    """Sum of what each window (N, H', W', k, l, C) gives to the positions under it, (N, C, H, W)."""
    (down, right), (above, left) = ctx.stride, ctx.padding
    _, height, width, rows, columns, _ = parts.shape
    total = parts.new_zeros(ctx.padded)
    for i in range(rows):
        for j in range(columns):
            total[:, i : i + down * height : down, j : j + right * width : right] += parts[:, :, :, i, j]
    _, below, beyond, _ = ctx.padded
    return total[:, above : below - above, left : beyond - left].permute(0, 3, 1, 2)


class SmallMaps(TorchFunctionMode):
    """Within this context, ``convolve`` computes the convolutions for which it ``applies``."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d and not kwargs and len(args) == 7:  # as torch.nn.Conv2d calls it
            x, weight, bias, stride, padding, dilation, groups = args
            if not isinstance(padding, str) and applies(x, weight, stride, padding, dilation, groups):
                return convolve(x, weight, bias, stride, padding)
        return func(*args, **(kwargs or {}))
