"""ResNet18 with CBAM (Woo et al. 2018, https://arxiv.org/abs/1807.06521), for the rival "Pruning + CBAM Attention".

The MedDef paper's Table 5 names Chen et al. 2021 for it. Reproduced here is its attention, from public parts, in this
network; it is pruned like every other, by ``meddef.pruning``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from meddef.models.backbone import resnet18_backbone

REDUCTION = 16  # r: the hidden layer of the channel gate has C / r units
KERNEL = 7  # side of the spatial gate's convolution


class CBAM(nn.Module):
    """Channel gate, then spatial gate: (N, C, H, W) -> (N, C, H, W), C >= 16.

    F' = F * sigmoid(MLP(average of F) + MLP(maximum of F)), over positions, one MLP for both;
    F'' = F' * sigmoid(BN(Conv7x7([maximum of F', mean of F']))), over channels. The paper prints no BatchNorm; its
    authors' program has it, with a weight that starts at zero, so that every position begins with a gate of a half.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // REDUCTION
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        norm = nn.BatchNorm2d(1)
        nn.init.zeros_(norm.weight)
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))
        x = x * gate.sigmoid()[:, :, None, None]
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * self.spatial(pooled).sigmoid()


def cbam_resnet18(num_classes: int, *, pretrained: bool) -> ResNet:
    """ResNet18 with a CBAM at the end of the residual branch of each of its eight blocks, before the addition."""
    network = resnet18_backbone(num_classes, pretrained=pretrained)
    for block in [module for module in network.modules() if isinstance(module, BasicBlock)]:
        norm = block.bn2
        block.bn2 = nn.Sequential(norm, CBAM(norm.num_features))
    return network
