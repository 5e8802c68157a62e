"""Models and images that the attack benchmarks share, made from seeds in seconds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meddef.attacks import bim
from meddef.models import build_model

EPS, STEP_SIZE = 0.05, 0.01  # the paper's evaluation
DEFENDED_EPS = 0.04  # in training
ENSEMBLE_EPS = 0.06  # some images resist it, and some do not
BRIGHTEST = 0.2  # of a band, above the noise


@dataclass(frozen=True)
class Scale:
    """How much work: ``FULL`` makes the published table, ``TINY`` tries the code in seconds."""

    size: int = 64  # px, where speed is measured
    small: int = 32  # px, where hundreds of images are attacked
    batch: int = 32
    steps: int = 40
    many: int = 256
    ensemble: int = 128
    training: int = 40
    repeats: int = 5
    slow_repeats: int = 3  # where a peer takes minutes
    jsma_size: int = 64  # px, largest where torchattacks is tried
    threads: int = 2
    largest: int = 224


FULL = Scale()
TINY = Scale(
    size=32, batch=2, steps=2, many=4, ensemble=4, training=1, repeats=1, slow_repeats=1, largest=32, jsma_size=28,
    threads=1,
)  # fmt: skip


def bands(n: int, classes: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, 3, size, size), noise around a half and a bright band whose place is the class; labels (n,).

    The brightness of the band is drawn for each image, so that some images are near the boundary and some are not.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    x = 0.4 + 0.05 * torch.randn(n, 1, size, size, generator=generator)
    brightness = BRIGHTEST * torch.rand(n, generator=generator)
    width = size // classes
    for i, label in enumerate(labels.tolist()):
        x[i, :, label * width : (label + 1) * width] += brightness[i]
    return x.clamp(0, 1).expand(-1, 3, -1, -1).contiguous(), labels


@lru_cache
def undefended(classes: int, size: int, steps: int, device: str = "cpu") -> nn.Module:
    """ResNet18 trained for ``steps`` batches of clean bands; evaluation mode."""
    torch.manual_seed(0)
    model = build_model("resnet18", classes, mean=0.4, std=0.2).to(device)
    return _fit(model, classes, size, steps, eps=0.0)


@lru_cache
def defended(classes: int, size: int, steps: int, device: str = "cpu") -> nn.Module:
    """The undefended model, trained for as long again on images attacked by three steps of BIM."""
    model = copy.deepcopy(undefended(classes, size, steps, device))
    return _fit(model, classes, size, steps, eps=DEFENDED_EPS)


def _fit(model: nn.Module, classes: int, size: int, steps: int, *, eps: float) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        x, labels = _beside(model, *bands(32, classes, size, seed=1000 + step))
        if eps:
            x = bim(model, x, labels, eps=eps, step_size=eps / 2, steps=3, loss="margin")
        model.train()
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad()
    return model.eval()


def right(model: nn.Module, n: int, classes: int, size: int) -> tuple[Tensor, Tensor]:
    """The first ``n`` of many images that the model has right, with their labels."""
    x, labels = _beside(model, *bands(4 * n, classes, size, seed=0))
    keep = (answers(model, x) == labels).nonzero()[:n, 0]
    return x[keep], labels[keep]


def _beside(model: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    device = next(model.parameters()).device
    return x.to(device), labels.to(device)


def answers(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in x.split(64)])


def robust(model: nn.Module, adv: Tensor, labels: Tensor) -> float:
    """Robust accuracy in percent."""
    return 100 * (answers(model, adv) == labels).float().mean().item()


def bf16_pays() -> bool:
    """Whether the CPU computes in bfloat16; where it is emulated, a gradient takes some ten times as long."""
    return torch.cpu._is_avx512_bf16_supported()


def floor(model: nn.Module, x: Tensor, labels: Tensor, steps: int) -> None:
    """Nothing but the forward and input-gradient passes that an attack of ``steps`` steps cannot do without."""
    for _ in range(steps):
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
