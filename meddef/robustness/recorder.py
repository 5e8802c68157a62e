"""An attack observed at the model: every iterate that it queries for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from meddef.attacks.losses import margin

ROUNDING = 1e-6  # iterates may leave the ball by a rounding error


@dataclass(frozen=True)
class Seen:
    """Of each image (N,): number of queried iterates; whether one within eps fooled the model; whether the attack
    started away from the image; and path length, the sum of each step's largest change in pixel units (infinite if
    unknown)."""

    shown: Tensor
    fooled: Tensor
    away: Tensor
    way: Tensor


class Recorder(nn.Module):
    """The model, and a record of its queries. Batches of unexpected size pass through, and images are not
    followed through them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._batches: list[Seen] = []
        self._images = self._labels = self._last = torch.empty(0)
        self._eps = 0.0

    def expect(self, images: Tensor, labels: Tensor, eps: float) -> None:
        """The next queries are iterates of these images (B, C, H, W) with these labels (B,)."""
        self._images, self._labels, self._eps = images, labels, eps
        self._last = images
        zeros = torch.zeros_like(labels)
        self._batches.append(Seen(zeros, zeros.bool(), zeros.bool(), zeros.to(images)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        if self._batches:
            seen = self._batches[-1]
            if len(x) != len(self._images):
                self._batches[-1] = replace(seen, way=seen.way + torch.inf)
                return logits
            change = _largest(x.detach() - self._images)
            wrong = (change <= self._eps + ROUNDING) & (margin(logits.detach(), self._labels) > 0)
            if not seen.shown.any():  # here the attack begins
                seen = replace(seen, away=change > ROUNDING)
                self._last = x.detach()
            self._batches[-1] = replace(seen, shown=seen.shown + 1, fooled=seen.fooled | wrong)
            self.go_on(x)
        return logits

    def go_on(self, x: Tensor) -> None:
        """Record x (B, C, H, W): the next iterate, or the result."""
        seen = self._batches[-1]
        self._batches[-1] = replace(seen, way=seen.way + _largest(x.detach() - self._last))
        self._last = x.detach().clone()  # an attack may write into its own

    def seen(self) -> Seen:
        """Everything noted so far, in the order of the images."""
        return Seen(
            *(torch.cat([getattr(batch, one.name) for batch in self._batches]) for one in fields(Seen))
        )


def _largest(change: Tensor) -> Tensor:
    """The largest absolute value of each image: (N, C, H, W) -> (N,)."""
    return change.abs().flatten(1).amax(1)
