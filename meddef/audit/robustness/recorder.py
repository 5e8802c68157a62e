"""An attack seen through the eyes of the model: every iterate that it shows the model for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meddef.attacks.losses import margin

ROUNDING = 1e-6  # iterates may leave the ball by a rounding error


@dataclass(frozen=True)
class Seen:
    """Of each image (N,): how often an iterate of it was shown, and whether one within eps fooled the model."""

    shown: Tensor
    fooled: Tensor


class Recorder(nn.Module):
    """The model, and a note of what it is asked. Batches of another size than expected are answered and not noted."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._images = self._labels = torch.empty(0)
        self._eps = 0.0

    def expect(self, images: Tensor, labels: Tensor, eps: float) -> None:
        """The next questions are about iterates of these images (B, C, H, W) with these labels (B,)."""
        self._images, self._labels, self._eps = images, labels, eps
        zeros = torch.zeros_like(labels)
        self._batches.append((zeros, zeros.bool()))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        if self._batches and len(x) == len(self._images):
            shown, fooled = self._batches[-1]
            inside = (x.detach() - self._images).abs().flatten(1).amax(1) <= self._eps + ROUNDING
            wrong = inside & (margin(logits.detach(), self._labels) > 0)
            self._batches[-1] = (shown + 1, fooled | wrong)
        return logits

    def seen(self) -> Seen:
        """Everything noted so far, in the order of the images."""
        shown, fooled = zip(*self._batches, strict=True)
        return Seen(torch.cat(shown), torch.cat(fooled))
