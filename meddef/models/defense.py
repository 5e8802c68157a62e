"""The Defense-Aware Attention Mechanism: AFD, MFE, MSF and the module D(x) that joins them.

Source: the paper, Section III-C "Defense-Aware Attention Mechanism (DAAM)". The paper prints the equations but not
every width; the widths here are the ones that give all ten published parameter counts (see tests/test_models.py).
All blocks map (N, C, H, W) to (N, C, H, W) for any H, W >= 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """1x1 convolution with bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=1)


def depthwise(channels: int, kernel_size: int) -> nn.Conv2d:
    """One filter per channel, same size, with bias."""
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


def conv_bn_relu(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


class AFD(nn.Module):
    """Adversarial Feature Detection: x + Cleaner(x * gate(x)), gate in (0, 1).

    The paper prints BN(ReLU(Conv1(x))); this uses ReLU(BN(Conv1(x))), the order of its other blocks. Both have the
    same number of parameters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            conv_bn_relu(pointwise(channels, channels)), depthwise(channels, 3), nn.Sigmoid()
        )
        self.cleaner = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cleaner(x * self.gate(x))


class MFE(nn.Module):
    """Medical Feature Extraction: G([x, edges(x), texture(x)])."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.Sequential(depthwise(channels, 3), nn.Tanh())
        self.texture = conv_bn_relu(depthwise(channels, 5))
        self.context = conv_bn_relu(pointwise(3 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.context(torch.cat([x, self.edges(x), self.texture(x)], dim=1))


class MSF(nn.Module):
    """Multi-Scale Feature analysis: F([x, S2(x), S4(x), S8(x)]), S_s pooled to s x s and upsampled to x's size."""

    SCALES = (2, 4, 8)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(conv_bn_relu(pointwise(channels, channels)) for _ in self.SCALES)
        self.fusion = nn.Sequential(
            conv_bn_relu(pointwise(4 * channels, 2 * channels)), pointwise(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for size, transform in zip(self.SCALES, self.scales, strict=True):
            pooled = transform(F.adaptive_avg_pool2d(x, size))
            levels.append(F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.fusion(torch.cat(levels, dim=1))


def fusion(channels: int, components: int) -> nn.Sequential:
    """Phi: joins the outputs of ``components`` blocks, (N, components * C, H, W) -> (N, C, H, W).

    With no component it is a plain block of two 3x3 convolutions on x itself, which is why the variant without any
    component has more parameters than the one with MSF alone.
    """
    if components == 0:
        blocks = [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)]
    elif components == 1:
        blocks = [pointwise(channels, channels)]
    else:
        blocks = [pointwise(components * channels, 2 * channels), pointwise(2 * channels, channels)]
    return nn.Sequential(*(conv_bn_relu(block) for block in blocks))


class DefenseModule(nn.Module):
    """D(x) = x + Phi([components(x)]) * Omega(x).

    Omega, the channel attention, acts on x as the paper's equation says (on the fused features it would have the same
    number of parameters).
    """

    COMPONENTS: dict[str, type[nn.Module]] = {"afd": AFD, "mfe": MFE, "msf": MSF}  # noqa: RUF012

    def __init__(self, channels: int, components: tuple[str, ...]) -> None:
        super().__init__()
        self.components = nn.ModuleDict({name: self.COMPONENTS[name](channels) for name in components})
        self.fusion = fusion(channels, len(components))
        self.channel_attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            pointwise(channels, channels // 4),
            nn.ReLU(),
            pointwise(channels // 4, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [component(x) for component in self.components.values()] or [x]
        return x + self.fusion(torch.cat(seen, dim=1)) * self.channel_attention(x)
