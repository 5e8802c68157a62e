"""The PGD of the probes, free or confined to some pixels or to one spatial scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.attacks.balls import LinfBall
from meddef.attacks.contract import per_image
from meddef.attacks.gradient import pgd
from meddef.attacks.reach import step_size
from meddef.module_state import evaluating
from meddef.settings import ModelProbe

MIDDLE = 0.5  # of the perturbation's coordinate: zero perturbation


class Confined(nn.Module):
    """``model`` on ``images`` plus a perturbation z: (N, C, h, w) in [0, 1] -> logits (N, K).

    z in [0, 1] stands for -``eps`` to ``eps``, constant over squares of ``factor`` pixels, and zero where ``mask``
    (N, 1, H, W) is False. The ball of radius 1/2 around z = 1/2 is thus the attacker's threat model, and any attack on
    this module is one on ``model`` within it: like ART's ``mask``, but for any confinement.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, eps: float, *, factor: int = 1, mask: Tensor | None = None
    ) -> None:
        super().__init__()
        self.model, self.images, self.eps, self.factor = model, images, eps, factor
        self.inside = torch.ones_like(images[:, :1]) if mask is None else mask.to(images)
        self.low, self.high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)

    @property
    def start(self) -> Tensor:
        """The z of zero perturbation, of the smallest size that covers the images."""
        height, width = (-(-side // self.factor) for side in self.images.shape[-2:])
        return self.images.new_full((*self.images.shape[:2], height, width), MIDDLE)

    def at(self, z: Tensor) -> Tensor:
        """The images (N, C, H, W) of z, within eps (up to rounding) and [0, 1]."""
        squares = z.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        moved = self.eps * (2 * squares[..., : self.images.shape[-2], : self.images.shape[-1]] - 1)
        return (self.images + moved * self.inside).clamp(self.low, self.high)

    def forward(self, z: Tensor) -> Tensor:
        return self.model(self.at(z))


def attacked(model: nn.Module, images: Tensor, labels: Tensor, rule: ModelProbe) -> Tensor:
    """``images`` after PGD anywhere within ``rule.eps``."""
    size = step_size(rule.eps, rule.steps)
    return pgd(model, images, labels, eps=rule.eps, step_size=size, steps=rule.steps)


def confined(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    rule: ModelProbe,
    *,
    factor: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """``images`` after PGD confined as in ``Confined``, within eps and [0, 1] exactly.

    Number and size of steps are as in ``attacked``.

    Starts are drawn for the batch: z is the same for every image, and so would be a start derived from it.
    """
    inner = Confined(model, images, rule.eps, factor=factor, mask=mask)
    size = step_size(rule.eps, rule.steps) * MIDDLE / rule.eps
    numbers = torch.Generator().manual_seed(0)
    found = pgd(inner, inner.start, labels, eps=MIDDLE, step_size=size, steps=rule.steps, generator=numbers)
    ball = LinfBall(images, per_image(rule.eps, images, "eps"))
    return ball.exact(inner.at(found))


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """(N, K), in evaluation mode and without gradients."""
    with evaluating(model), torch.no_grad():
        return model(images)


def right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """1 where the prediction is correct, else 0: float (N,)."""
    return (logits_of(model, images).argmax(1) == labels).float()
