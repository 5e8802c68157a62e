"""Propagation of a perturbation through AFD, MFE, MSF and the whole DAAM.

Definitions. With f a component's output and x' the image x under PGD, its relative perturbation is
|f(x') - f(x)| / |f(x)| (L2 over channels and positions), noise over signal: a component suppresses a perturbation, or
amplifies features relative to it, if the relative perturbation of its output is less than that of its input, which is
the backbone's feature map for all of them. "high" is the share of the perturbation's power above half the Nyquist
frequency, over channels: radial frequency above 1/4 cycle per position, from the discrete Fourier transform. A feature
map of 2 x 2 positions has one frequency below, the mean. The measure of noise amplification over layers is that of
Liao et al. 2018, "Defense against adversarial attacks using high-level representation guided denoiser", Fig. 2; the
spectrum that of Yin et al. 2019, "A Fourier perspective on model robustness", of a feature map for that of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from meddef.models.defense import DefenseModule
from meddef.probes.attacking import attacked, logits_of
from meddef.settings import ModelProbe

HALF_NYQUIST = 0.25  # cycles per position
WHOLE, BEFORE = "daam", "in"


def measure(
    model: nn.Module, images: Tensor, labels: Tensor, rule: ModelProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Of "in", "daam" and each component: its relative perturbation, and under "... high" the high-frequency share.

    All (N,); NaN where a feature map, or its perturbation, is zero everywhere.
    """
    (defense,) = (module for module in model.modules() if isinstance(module, DefenseModule))
    moved = attacked(model, images, labels, rule)
    with watching(defense) as seen:
        logits_of(model, images)
        clean = dict(seen)
        logits_of(model, moved)
    found = {name: relative(seen[name], clean[name]) for name in clean}
    return found | {f"{name} high": high_share(seen[name] - clean[name]) for name in clean}


@contextmanager
def watching(defense: DefenseModule) -> Iterator[dict[str, Tensor]]:
    """Name -> input and output of the module, and outputs of its components, in the last pass."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            seen[name] = out.detach()
            if name == WHOLE:
                seen[BEFORE] = given[0].detach()

        return module.register_forward_hook(hook)

    handles = [keep(name, module) for name, module in [*defense.components.items(), (WHOLE, defense)]]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def relative(moved: Tensor, clean: Tensor) -> Tensor:
    """|moved - clean| / |clean| of feature maps (N, C, h, w); NaN where ``clean`` is zero: (N,)."""
    norm = clean.flatten(1).norm(dim=1)
    return (moved - clean).flatten(1).norm(dim=1) / norm.where(norm > 0, torch.nan)


def high_share(perturbation: Tensor) -> Tensor:
    """Share of the power of (N, C, h, w) at radial frequencies above ``HALF_NYQUIST``; NaN without power: (N,)."""
    power = torch.fft.fft2(perturbation.float()).abs().square().sum(1)
    across, down = (torch.fft.fftfreq(side, device=power.device) for side in power.shape[:-3:-1])
    high = torch.hypot(down[:, None], across[None]) > HALF_NYQUIST
    total = power.sum((1, 2))
    return (power * high).sum((1, 2)) / total.where(total > 0, torch.nan)
