"""Material of the labs: phantoms, a narrow network trained in seconds, and a model that records its inputs.

Everything is in double precision, so that counts come out the same on every machine.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning, ZeroGradientWarning, pgd
from meddef.data.phantom import draw_phantoms, patients_needed

torch.set_num_threads(1)  # networks this small are faster on one

SIZE = 32
TRAIN, TEST = 320, 80
MEAN, STD = 0.5, 0.25
BATCH, RATE, CLEAN_EPOCHS, TRAIN_STEPS = 32, 0.05, 4, 5
REACH = 2.5  # of all steps of an attack together, in eps: the ball is 2 eps wide


@dataclass(frozen=True)
class Data:
    """Phantoms in [0, 1]: images float64 (N, 1, H, W), labels int64 (N,); no patient is in both splits."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]


@lru_cache
def phantoms(family: str = "xray", size: int = SIZE) -> Data:
    """Phantoms of ``family``: "xray" (NORMAL, PNEUMONIA) or "oct" (CNV, DME, DRUSEN, NORMAL)."""
    train = draw_phantoms(family, TRAIN, size=size)
    test = draw_phantoms(family, TEST, size=size, first_patient=patients_needed(family, TRAIN))
    images = [torch.from_numpy(drawn.images)[:, None].double() / 255 for drawn in (train, test)]
    labels = [torch.from_numpy(drawn.labels) for drawn in (train, test)]
    return Data(images[0], labels[0], images[1], labels[1], train.classes)


class Net(nn.Module):
    """Three strided convolutions and a linear layer: images (N, 1, 32, 32) in [0, 1] -> logits (N, K).

    The standardisation is inside; ``network`` takes standardised images.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * (SIZE // 8) ** 2, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - MEAN) / STD)


def network(classes: int = 2, seed: int = 0) -> Net:
    """An untrained network, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(classes).double().eval()


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    reach: float = REACH,
    steps: int = TRAIN_STEPS,
) -> Tensor:
    """PGD from a random start; its ``steps`` sum to ``reach`` times eps.

    Warns neither of a short reach nor of zero gradients, which the labs produce on purpose.
    """
    with warnings.catch_warnings():
        for kind in (ShortReachWarning, ZeroGradientWarning):
            warnings.simplefilter("ignore", kind)
        return pgd(model, images, labels, eps=eps, step_size=reach * eps / steps, steps=steps)


@lru_cache
def _trained(family: str, eps: float, reach: float, epochs: int, seed: int) -> Net:
    data = phantoms(family)
    model = network(len(data.classes), seed)
    weights = list(model.parameters())
    momentum = [torch.zeros_like(weight) for weight in weights]
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for batch in torch.randperm(len(data.train_labels), generator=generator).split(BATCH):
            images, labels = data.train_images[batch], data.train_labels[batch]
            loss = F.cross_entropy(model(images), labels)
            if eps and epoch >= CLEAN_EPOCHS:
                attacked = attack(model, images, labels, eps=eps, reach=reach)
                loss = (loss + F.cross_entropy(model(attacked), labels)) / 2
            with torch.no_grad():  # SGD by hand: importing torch.optim takes longer than this training
                for weight, old, slope in zip(
                    weights, momentum, torch.autograd.grad(loss, weights), strict=True
                ):
                    weight.sub_(RATE * old.mul_(0.9).add_(slope))
    return model


def trained(
    family: str = "xray", *, eps: float = 0.0, reach: float = REACH, epochs: int = 15, seed: int = 0
) -> Net:
    """A network trained on the phantoms: seconds. With ``eps`` it is trained adversarially after a clean start, by
    ``attack`` with ``reach``."""
    return copy.deepcopy(_trained(family, eps, reach, epochs, seed))


@torch.no_grad()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """The class with the largest logit, (N,)."""
    return model(images).argmax(1)


def correct(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Number of images the model classifies correctly."""
    return int((predictions(model, images) == labels).sum())


class Watched(nn.Module):
    """A model that records every batch it is given, in ``seen``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        return self.model(images)


def show(images: Tensor, titles: list[str] | None = None, *, signed: bool = False) -> Any:
    """A row of grey images (N, 1, H, W); ``signed`` shows values around 0, blue below and red above."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(images), figsize=(1.2 * len(images), 1.4), dpi=64, squeeze=False)
    for panel, image, title in zip(axes[0], images, titles or [""] * len(images), strict=True):
        reach = float(image.abs().max()) or 1.0
        low, high, colours = (-reach, reach, "RdBu_r") if signed else (0, 1, "gray")
        panel.imshow(image[0].detach().numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        panel.set_title(title, fontsize=7)
        panel.axis("off")
    figure.tight_layout()
    plt.close(figure)
    return figure


class Margin(nn.Module):
    """A model whose prediction can be read off the image: logits (N, 2) are 0 and 10 (mean of the pixels - 1/2)."""

    def forward(self, images: Tensor) -> Tensor:
        value = 10 * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([torch.zeros_like(value), value], dim=1)
