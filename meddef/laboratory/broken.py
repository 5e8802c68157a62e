"""FGSM, BIM and PGD written in standardised space, with the switches by which they go wrong.

Without a switch they equal the attacks of ``meddef.attacks`` (a test compares them).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from meddef.models import Normalized

STEPS = 10
STEP = 0.25  # of eps
SHORT_STEPS, SHORT_STEP = 5, 0.003  # the paper's step in training, made for 40; pixel units


@dataclass(frozen=True)
class Switches:
    """One field a defect; all False is sound. See ``meddef.laboratory.defects``."""

    clamp_normalised: bool = False
    eps_normalised: bool = False
    descend: bool = False
    train_mode: bool = False
    one_label: bool = False
    short_reach: bool = False


def craft(
    model: Normalized, images: Tensor, labels: Tensor, *, attack: str, eps: float, switches: Switches
) -> Tensor:
    """Attacked images in standardised space.

    Args:
        model: its ``network`` takes standardised images.
        images: (N, C, H, W) in [0, 1].
        labels: (N,), int64.
        attack: "fgsm" (one step of eps), "bim" or "pgd" (ten steps of a quarter of eps, from the image or at random).
        eps: L-infinity radius in pixel units.

    Returns:
        (N, C, H, W); in pixels x they are (x - mean) / std.
    """
    steps, step = (1, eps) if attack == "fgsm" else (STEPS, STEP * eps)
    if switches.short_reach and attack != "fgsm":
        steps, step = SHORT_STEPS, SHORT_STEP
    unit = torch.ones_like(model.std) if switches.eps_normalised else model.std
    low, high = (0 - model.mean) / model.std, (1 - model.mean) / model.std
    if switches.clamp_normalised:
        low, high = torch.zeros_like(low), torch.ones_like(high)
    start = (images - model.mean) / model.std
    z = start
    if attack == "pgd":
        noise = 2 * torch.rand(start.shape, generator=torch.Generator().manual_seed(0)) - 1
        z = (start + eps / unit * noise).clamp(low, high)
    direction = -1 if switches.descend else 1
    targets = torch.full_like(labels, _smallest(labels)) if switches.one_label else labels
    for _ in range(steps):
        leaf = z.detach().requires_grad_()
        loss = F.cross_entropy(model.network(leaf), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        z = leaf.detach() + direction * step / unit * gradient.sign()
        z = z.clamp(start - eps / unit, start + eps / unit).clamp(low, high)
    return z


def _smallest(labels: Tensor) -> int:
    """The rarest class among the labels."""
    counts = labels.bincount().double()
    return int(counts.masked_fill(counts == 0, torch.inf).argmin())
