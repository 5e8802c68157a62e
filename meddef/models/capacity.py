"""Controls that the paper lacks: is it the attention, or the size?

The full model differs from ResNet18 by its DefenseModule, by self-attention and fusion, and by twice as many
parameters. ``PlainCapacity`` has the parameters alone, in residual blocks of plain convolutions (He et al. 2016,
"Deep residual learning for image recognition"); the variant "attention_only" of ``build_model`` has self-attention and
fusion alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from meddef.models.backbone import CHANNELS, feature_extractor

WIDTH = 578  # inner channels of each block: 21.84 M parameters in all for two classes, as the full model has
BLOCKS = 2


class PlainBlock(nn.Module):
    """x + BN(Conv3x3(ReLU(BN(Conv3x3(x))))), then ReLU: (N, C, H, W) -> (N, C, H, W), with ``width`` inner channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.residual(x))


class PlainCapacity(nn.Module):
    """ResNet18's backbone, plain blocks up to the full model's size, pooling, dropout, head: (N, 3, H, W) -> (N, K).

    Args:
        num_classes: K >= 2.
        dropout: rate before the head, where MedDef has it.
        pretrained: start the backbone from ImageNet weights.
    """

    def __init__(self, num_classes: int, *, dropout: float, pretrained: bool) -> None:
        super().__init__()
        self.backbone = feature_extractor(pretrained=pretrained)
        self.blocks = nn.Sequential(*(PlainBlock(CHANNELS, WIDTH) for _ in range(BLOCKS)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(CHANNELS, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.blocks(self.backbone(x)).mean(dim=(2, 3))  # (N, C)
        return self.head(self.dropout(pooled))
