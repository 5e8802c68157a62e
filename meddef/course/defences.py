"""Three defences that only look perfect: lab 6 breaks them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEVELS = 12
SIGMA = 0.2


def quantise(images: Tensor) -> Tensor:
    """Images in [0, 1] rounded to LEVELS grey levels; the gradient of rounding is 0 everywhere."""
    return (images * (LEVELS - 1)).round() / (LEVELS - 1)


class Constant(nn.Module):
    """Constant logits (N, K): the largest class for every image."""

    def __init__(self, logits: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.get_buffer("logits") + 0 * images.flatten(1).sum(1, keepdim=True)


class Quantised(nn.Module):
    """A model behind ``quantise``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(quantise(images))


class Noisy(nn.Module):
    """A model that sees the image with fresh noise of standard deviation ``sigma`` at every question."""

    def __init__(self, model: nn.Module, sigma: float = SIGMA, seed: int = 0) -> None:
        super().__init__()
        self.model, self.sigma, self.seed, self.asked = model, sigma, seed, 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += 1
        generator = torch.Generator().manual_seed(self.seed + self.asked)
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        return self.model(images + self.sigma * noise)


class InTurn(nn.Module):
    """Answers with one of its models after the other, as a randomised defence with few outcomes would."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models, self.asked = nn.ModuleList(models), 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += 1
        return self.models[(self.asked - 1) % len(self.models)](images)
