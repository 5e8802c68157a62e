"""MedDef: Output = C(A(D(B(x)))), and ``build_model`` for the five variants of the paper and four controls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef import catalogue
from meddef.catalogue import variants
from meddef.errors import InputError
from meddef.models.backbone import CHANNELS, feature_extractor, resnet18_backbone
from meddef.models.capacity import PlainCapacity
from meddef.models.cbam import cbam_resnet18
from meddef.models.defense import DefenseModule

VARIANTS = variants("paper")
"""Names of the paper's five models."""
CAPACITY_CONTROLS = variants("size")
"""Names of the controls for the full model's size."""
RIVALS = variants("rival")
"""Names of the architectures of other defences."""
KNOWN_VARIANTS = tuple(catalogue.VARIANTS)
"""All names that ``build_model`` takes."""


def components_of(variant: str) -> tuple[str, ...] | None:
    """Which of "afd", "mfe", "msf" are in the DefenseModule of a variant; None without a DefenseModule."""
    return catalogue.VARIANTS[variant].components if variant in catalogue.VARIANTS else None


def _held(group: str) -> dict[str, tuple[str, ...]]:
    return {name: held for name in variants(group) if (held := components_of(name)) is not None}


COMPONENTS = _held("paper")
"""Name -> components, for the paper's models that have a ``DefenseModule``."""
SINGLE = _held("single")
"""Name -> its one component; MSF alone is "no_afd_mfe", among the paper's."""


class SelfAttention(nn.Module):
    """Scaled dot-product attention of one head over positions: (N, P, d) -> (N, P, d) (paper, Eqs. 1 and 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, positions: Tensor) -> Tensor:
        attended = F.scaled_dot_product_attention(
            self.query(positions), self.key(positions), self.value(positions)
        )
        return self.output(attended)


class MedDef(nn.Module):
    """Backbone, DefenseModule, self-attention, feature fusion, head: (N, 3, H, W) -> logits (N, K).

    Args:
        components: which of "afd", "mfe", "msf" the DefenseModule holds; None leaves the module itself out.
        num_classes: K >= 2.
        dropout: rate before the head (the paper prints 0.3 in one place and 0.2 in another).
        pretrained: start the backbone from ImageNet weights.
    """

    def __init__(
        self, components: tuple[str, ...] | None, num_classes: int, *, dropout: float, pretrained: bool
    ) -> None:
        super().__init__()
        self.backbone = feature_extractor(pretrained=pretrained)
        self.defense = nn.Identity() if components is None else DefenseModule(CHANNELS, components)
        self.attention = SelfAttention(CHANNELS)
        self.fusion = nn.Sequential(nn.Linear(2 * CHANNELS, CHANNELS), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(CHANNELS, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.defense(self.backbone(x))  # (N, C, h, w)
        positions = features.flatten(2).transpose(1, 2)  # (N, h*w, C)
        attended = self.attention(positions).mean(dim=1)  # (N, C)
        pooled = positions.mean(dim=1)  # (N, C)
        return self.head(self.fusion(torch.cat([attended, pooled], dim=1)))


class Normalized(nn.Module):
    """A network preceded by its standardisation, so that images are in [0, 1] everywhere outside."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def build_model(
    variant: str,
    num_classes: int,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    dropout: float = 0.3,
    pretrained: bool = False,
    channels: int = 3,
) -> Normalized:
    """One of the paper's five models, of the two that control for their size, or of the two with one component.

    Args:
        variant: a name in ``KNOWN_VARIANTS``. Of ``VARIANTS``, the paper's: the baseline "resnet18", or MedDef with
            all ("full") or some components; of ``CAPACITY_CONTROLS``: "plain_capacity",
            ResNet18 with plain convolution blocks up to the full model's number of parameters, and "attention_only",
            MedDef without its DefenseModule; of ``SINGLE``: "afd_only" or
            "mfe_only", MedDef with that component alone; of ``RIVALS``: "cbam", ResNet18 with CBAM.
        num_classes: K >= 2 logits.
        mean, std: of the training pixels in [0, 1]; one number, or one per channel. Applied inside the model.
        dropout: rate before the head, in [0, 1). The ResNet18 baseline and "cbam" have none.
        pretrained: ImageNet weights for the backbone.
        channels: of the images, 1 or 3. With 1 it begins as the model of three does, given a grey image three times.

    Returns:
        A module from images (N, channels, H, W) in [0, 1], H and W >= 32, to logits (N, K).

    Raises:
        InputError: unknown variant, K < 2, other channels, std not positive, dropout out of range, weights not to be
            had.
    """
    if variant not in KNOWN_VARIANTS:
        raise InputError(f"unknown model variant '{variant}': use one of {', '.join(KNOWN_VARIANTS)}")
    if num_classes < 2:
        raise InputError(f"num_classes is {num_classes}: a classifier needs at least 2")
    if torch.as_tensor(std).min() <= 0:
        raise InputError(f"std is {std}: it must be positive")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}: it must lie in [0, 1)")
    if channels not in (1, 3):
        raise InputError(f"channels is {channels}: a model takes 1 or 3")
    network: nn.Module
    if variant == "resnet18":
        network = resnet18_backbone(num_classes, pretrained=pretrained)
    elif variant == "cbam":
        network = cbam_resnet18(num_classes, pretrained=pretrained)
    elif variant == "plain_capacity":
        network = PlainCapacity(num_classes, dropout=dropout, pretrained=pretrained)
    else:
        network = MedDef(components_of(variant), num_classes, dropout=dropout, pretrained=pretrained)
    if channels == 1:
        _take_grey(network)
    return Normalized(network, mean, std)


def _take_grey(network: nn.Module) -> None:
    """Let the first convolution take one channel for three, with the sum of its kernels."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = 1
    first.weight = nn.Parameter(first.weight.detach().sum(1, keepdim=True))
