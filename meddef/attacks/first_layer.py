"""The input gradient of a strided convolution on few channels, as one dense convolution and a pixel shuffle.

Libraries compute it as a transposed convolution, whose few output channels leave most of a vector unit idle. With
stride s, input pixel s m + r gathers the output gradients g[m - d] weighted by w[s d + r + padding], so each residue r
is a small convolution of g, and the s * s of them are the channels of one, which ``pixel_shuffle`` interleaves.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pays(module: nn.Conv2d) -> bool:
    """Whether ``FirstLayer`` can replace this convolution and is faster."""
    return (
        module.in_channels <= 4
        and module.stride[0] == module.stride[1] > 1
        and module.kernel_size[0] == module.kernel_size[1] >= module.stride[0]
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.padding[0] == module.padding[1]
        and module.dilation == (1, 1)
        and module.groups == 1
    )


class FirstLayer(nn.Module):
    """The same convolution, (N, C, H, W) to (N, D, H', W'), with no gradient but that of its input."""

    def __init__(self, convolution: nn.Conv2d, quick: nn.Module) -> None:
        """``quick`` computes the forward pass: the convolution or its replacement."""
        super().__init__()
        self.quick = quick
        weight = convolution.weight.detach()
        self.stride, self.padding = convolution.stride[0], int(convolution.padding[0])
        size, s, p = weight.shape[-1], self.stride, self.padding
        self.before = (size - 1 - p) // s  # largest d with a weight, for any residue
        after = (s - 1 + p) // s
        taps = torch.arange(self.before + after + 1, device=weight.device)
        places = s * (self.before - taps) + torch.arange(s, device=weight.device)[:, None] + p
        self._inside = (places >= 0) & (places < size)  # (s, taps): source of the weights of residue r
        self._places = places.clamp(0, size - 1)
        self.kernel: Tensor
        self.register_buffer("kernel", self._arranged(weight), persistent=False)

    def fill(self, weight: Tensor) -> None:
        """Take over another weight of the convolution, (D, C, size, size)."""
        self.kernel.copy_(self._arranged(weight))

    def _arranged(self, weight: Tensor) -> Tensor:
        rows = weight[:, :, self._places] * self._inside[..., None]
        both = rows[..., self._places] * self._inside  # (D, C, s, taps, s, taps)
        kernel = both.permute(1, 2, 4, 0, 3, 5).reshape(-1, len(weight), *[self._places.shape[1]] * 2)
        return kernel.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return _Convolve.apply(x, self)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FirstLayer) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape[-2:]
        with torch.no_grad():
            return layer.quick(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        layer, (height, width) = ctx.layer, ctx.size
        taps, s = layer.kernel.shape[-1], layer.stride
        ends = [
            -(-size // s) + taps - 1 - layer.before - had
            for size, had in zip((height, width), gradient.shape[-2:], strict=True)
        ]
        padded = F.pad(gradient, (layer.before, ends[1], layer.before, ends[0]))
        shuffled = F.pixel_shuffle(F.conv2d(padded, layer.kernel.to(padded.dtype)), s)
        return shuffled[..., :height, :width], None
