"""Accuracy under PGD confined to a spatial scale, or to the lesion or its surroundings.

A scale is a perturbation that is constant over squares of so many pixels (1: any perturbation), as the low-frequency
attacks of Guo et al. 2019, "Low frequency adversarial perturbation", and Sharma et al. 2019, "On the effectiveness of
low frequency perturbations", by construction rather than by projection. Regions are those of phantoms, whose lesions
are known; only images with a lesion are attacked. An attacker confined to few pixels is weaker whatever they show: the
lesion's share of the image is recorded too.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from meddef.probes.attacking import confined, right
from meddef.settings import BandsProbe, ModelProbe


def bands(
    model: nn.Module, images: Tensor, labels: Tensor, rule: BandsProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """1 where the prediction is correct, (N,): "clean", and under PGD in squares of each factor, "1", "4", "16"."""
    moved = {str(factor): confined(model, images, labels, rule, factor=factor) for factor in rule.factors}
    return {name: right(model, each, labels) for name, each in ({"clean": images} | moved).items()}


def regions(
    model: nn.Module, images: Tensor, labels: Tensor, rule: ModelProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """1 where the prediction is correct, (N,): "clean", and under PGD "inside" the lesion, "outside" it, "everywhere".

    ``drawn["mask"]``: bool (N, H, W). "lesion" is the lesion's share of the image.
    """
    mask = drawn["mask"][:, None]
    moved = {
        name: confined(model, images, labels, rule, mask=where)
        for name, where in (("inside", mask), ("outside", ~mask), ("everywhere", None))
    }
    found = {name: right(model, each, labels) for name, each in ({"clean": images} | moved).items()}
    return found | {"lesion": mask.float().mean((1, 2, 3))}
