"""The convolutional backbone B(x): torchvision's ResNet18 (BasicBlock, 2-2-2-2, 64-128-256-512 channels)."""

from __future__ import annotations

from urllib.error import URLError

from torch import nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.resnet import ResNet

from meddef.errors import InputError

CHANNELS = 512


def resnet18_backbone(num_classes: int, *, pretrained: bool) -> ResNet:
    """Torchvision's ResNet18 with a fresh head of ``num_classes`` logits.

    ``pretrained=True`` loads torchvision's ImageNet weights (a download of 45 MB the first time). Raises ``InputError``
    where they are unavailable.
    """
    if not pretrained:
        return resnet18(num_classes=num_classes)
    try:
        network = resnet18(weights=ResNet18_Weights.IMAGENET1K_V1)
    except (URLError, OSError) as error:
        raise InputError(
            f"ImageNet weights could not be downloaded ({error}): "
            "put resnet18-f37072fd.pth into the torch hub cache, or use pretrained=False"
        ) from error
    network.fc = nn.Linear(CHANNELS, num_classes)
    return network


def feature_extractor(*, pretrained: bool) -> nn.Sequential:
    """ResNet18 up to its last block: (N, 3, H, W) -> (N, 512, ceil(H/32), ceil(W/32))."""
    network = resnet18_backbone(1, pretrained=pretrained)
    stack = nn.Sequential()
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        stack.add_module(name, getattr(network, name))
    return stack
