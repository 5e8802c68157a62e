"""Visibility of an attack: structural similarity, L2 and L0 of attacked images.

SSIM: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", with their window
(Gaussian, 11 x 11, standard deviation 1.5), constants and border (windows that lie within the image). Implemented here
to avoid a dependency; the tests compare with scikit-image. PSNR follows from L2 (``meddef.statistics.psnr``).
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import ATTACKS
from meddef.attacks.options import with_step_size
from meddef.settings import VisibilityProbe

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # of images in [0, 1]


def measure(
    model: nn.Module, images: Tensor, labels: Tensor, rule: VisibilityProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Of each attack "ssim", "l2" (pixel units, all channels) and "l0" (share of changed pixels), (N,): "jsma ssim"."""
    found: dict[str, Tensor] = {}
    for name, given in rule.attacks.items():
        takes = signature(ATTACKS[name].func).parameters
        eps = rule.eps if "eps" in takes else None
        steps = {"steps": rule.steps} if name in ("pgd", "bim") else {}
        settings = with_step_size(name, steps | given, eps) | ({} if eps is None else {"eps": eps})
        moved = ATTACKS[name](model, images, labels, **settings)
        found |= {f"{name} {key}": values for key, values in seen(images, moved).items()}
    return found


def seen(images: Tensor, moved: Tensor) -> dict[str, Tensor]:
    """The three numbers of images (N, C, H, W) before and after."""
    change = moved - images
    return {
        "ssim": ssim(images, moved),
        "l2": change.flatten(1).norm(dim=1),
        "l0": (change != 0).any(1).float().mean((1, 2)),
    }


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of images (N, C, H, W) in [0, 1], H and W at least 11: (N,), 1 for equal ones."""
    place = torch.arange(WINDOW, dtype=torch.float64, device=one.device) - WINDOW // 2
    line = torch.exp(-(place**2) / (2 * SIGMA**2))
    window = (line[:, None] * line[None] / line.sum() ** 2)[None, None]

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], window).reshape(len(x), -1)

    x, y = one.double(), other.double()
    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x) - mean_x**2 + smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return (alike / ((mean_x**2 + mean_y**2 + C1) * (variances + C2))).mean(1)
