"""A MedDef narrow enough for a browser: the paper's blocks, an eighth of its channels, grey images of 64 px."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from meddef.models import DefenseModule, Normalized, SelfAttention
from meddef.models.defense import conv_bn_relu

WIDTHS = (8, 16, 32, 64)
"""Channels of the four stages; the paper has 64, 128, 256, 512."""
STRIDES = (2, 1, 2, 2)
BLOCKS = 2


class NarrowMedDef(nn.Module):
    """Backbone 2-2-2-2, DefenseModule with all components, self-attention, fusion, head: (N, 1, 64, 64) -> (N, K).

    Against ``meddef.models.MedDef``: ``WIDTHS``, one input channel, and a stride in the first stage instead of max
    pooling and a stride in the second, so that features are 4 x 4 at 64 px and not 2 x 2.
    """

    def __init__(self, num_classes: int, *, dropout: float = 0.3) -> None:
        super().__init__()
        channels = WIDTHS[-1]
        stem = nn.Conv2d(1, WIDTHS[0], kernel_size=7, stride=2, padding=3)
        stages = [
            stage(inputs, width, stride)
            for inputs, width, stride in zip((WIDTHS[0], *WIDTHS), WIDTHS, STRIDES, strict=False)
        ]
        self.early = nn.Sequential(conv_bn_relu(stem), *stages[:-1])
        self.late = nn.Sequential(stages[-1], DefenseModule(channels, ("afd", "mfe", "msf")))
        self.attention = SelfAttention(channels)
        self.fusion = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(channels, num_classes)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, K) from what ``early`` gives, (N, 32, 8, 8): the layer of Grad-CAM."""
        positions = self.late(features).flatten(2).transpose(1, 2)  # (N, 16, C)
        attended = self.attention(positions).mean(dim=1)  # (N, C)
        return self.head(self.fusion(torch.cat([attended, positions.mean(dim=1)], dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.early(x))


def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two of torchvision's residual blocks, the first with a 1x1 shortcut where the shape changes."""
    shortcut = None
    if stride != 1 or inputs != outputs:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
    rest = [BasicBlock(outputs, outputs) for _ in range(BLOCKS - 1)]
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), *rest)


def narrow_meddef(num_classes: int, *, mean: float, std: float) -> Normalized:
    """Images (N, 1, 64, 64) in [0, 1] to logits (N, K); ``mean`` and ``std`` are those of the training pixels."""
    return Normalized(NarrowMedDef(num_classes), mean, std)
