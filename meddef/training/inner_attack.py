"""The attack inside adversarial training: PGD on a surrogate that is built once and refreshed before every batch."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import contract
from meddef.attacks.balls import LinfBall
from meddef.attacks.capture import climbing
from meddef.attacks.fast import gradient_source, layout
from meddef.attacks.loop import ActiveBatch, finish
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask
from meddef.attacks.randomness import PerImage
from meddef.attacks.shadow import Shadow
from meddef.attacks.surrogate import Surrogate
from meddef.errors import InputError

logger = logging.getLogger(__name__)

EVERY = 16
"""Calls between two comparisons of the copy with the model."""


NOISE = 0.001
"""Standard deviation of the start "normal", pixel units (Zhang et al. 2019, algorithm 1)."""


@dataclass(frozen=True)
class Search:
    """Settings of the attack in training: ``steps`` of ``step_size`` within ``eps``, pixel units.

    It starts at a random point of the ball, near the image or at the image, and ascends the cross-entropy or, with
    ``divergence``, the distance of the output from that for the image.
    """

    eps: float
    step_size: float
    steps: int
    start: Literal["uniform", "normal", "image"] = "uniform"
    divergence: bool = False


@dataclass(frozen=True)
class Divergence(Objective):
    """KL(p || softmax(z)) up to a constant in z; ``labels`` hold p, (N, K)."""

    loss_name: str = "divergence"

    def __post_init__(self) -> None:
        pass  # not the caller's classes, so nothing to check

    def loss(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.labels, reduction="none")


class InnerAttack:
    """PGD with cross-entropy and a random start on the current weights of ``model``, in evaluation mode.

    Gradients come from a ``Surrogate`` of the model (on a GPU a ``Shadow``, whose steps are recorded once while the
    trainer holds ``climbing``) or, where it cannot be traced or no longer matches the model, from the model itself. A
    ``Surrogate`` is compared with the model periodically, a ``Shadow`` in the first batch of every epoch.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K); its weights may change between calls.
        steps: gradient evaluations.
        precision: "float32" or "bf16", of the gradients.
    """

    def __init__(self, model: nn.Module, steps: int, precision: str) -> None:
        self.model, self.steps, self.precision = model, steps, precision
        self._source: nn.Module | None = None
        self._calls, self._compared = 0, False

    def new_epoch(self) -> None:
        """Compare a ``Shadow`` with the model in the next call."""
        self._compared = False

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        eps: float,
        step_size: float,
        seed: int,
        steps: int | None = None,
        start: str = "uniform",
        divergence: bool = False,
    ) -> Tensor:
        """Images (N, C, H, W) within ``eps`` and [0, 1]; the random start is derived from (seed, image).

        Args: those of ``Search``; ``steps`` are the attack's own unless given.

        Raises:
            InputError: logits or gradients that are not finite.
        """
        if not len(images):
            return images
        steps = steps or self.steps
        with contract.attacking(self.model, images.device), climbing(images.device, steps) as climb:
            source = self._refreshed(images, labels)
            quick = isinstance(source, Surrogate | Shadow)
            ball = LinfBall(layout(images, fast=quick), contract.per_image(eps, images, "eps"))
            size = contract.per_image(step_size, images, "step_size")
            index = torch.arange(len(images), device=images.device)
            objective = self._divergence(ball.images, labels) if divergence else Objective(labels)
            active = ActiveBatch(self.model, source, objective, ball, size, index, len(images))
            x = _start(ball, start, PerImage(images, seed, "training"))
            return finish(ball, climb(active, x, steps, stop="never", report=_ignore, trace=None))

    def _divergence(self, images: Tensor, labels: Tensor) -> Divergence:
        """From the model's own outputs: in bfloat16 the copy's outputs for an image and a nearby one are often equal,
        which makes the gradient zero."""
        with torch.no_grad():
            answers = contract.check_logits(ask(self.model, images), labels).float().softmax(1)
        return Divergence(answers, highest=answers.shape[1] - 1)

    def _refreshed(self, images: Tensor, labels: Tensor) -> nn.Module:
        """The source of gradients with the current weights: a copy if it takes images as they are laid out for it."""
        if images.device.type == "cuda":
            images = layout(images, fast=True)
        if isinstance(self._source, Surrogate | Shadow):
            self._source.refresh()
            if isinstance(self._source, Surrogate) and self._due() and not self._source.agrees(images[:1]):
                logger.warning(
                    "the training attack's copy no longer matches the model: it attacks the model itself"
                )
                self._source = gradient_source(self.model, images, fast=False, precision=self.precision)
        elif self._source is None:
            try:
                self._source = gradient_source(self.model, images, fast=True, precision=self.precision)
                with torch.no_grad():
                    self._source(layout(images[:1], fast=True))
            except InputError:
                self._source = gradient_source(self.model, images, fast=False, precision=self.precision)
        if isinstance(self._source, Shadow) and not self._compared:
            self._source = self._unless_apart(self._source, images, labels)
        self._compared = True
        return self._source

    def _unless_apart(self, shadow: Shadow, images: Tensor, labels: Tensor) -> nn.Module:
        """The shadow, or the model where their losses differ by more than rounding."""
        apart, most = shadow.departure(self.model, images, labels)
        if apart <= most or not math.isfinite(most):  # errors of the model itself are reported elsewhere
            return shadow
        logger.warning(
            "the training attack's copy no longer matches the model: its loss differs by %.3g, more than rounding "
            "(%.3g); it now attacks the model itself, which is slower",
            apart,
            most,
        )
        return self.model

    def _due(self) -> bool:
        """Whether to compare the copy with the model (5 % of a call): in the first calls, then periodically."""
        self._calls += 1
        return self._calls <= EVERY // 2 or self._calls % EVERY == 0


def _start(ball: LinfBall, kind: str, numbers: PerImage) -> Tensor:
    """The starting points, (N, C, H, W) in the ball."""
    match kind:
        case "uniform":
            return ball.random(numbers)
        case "normal":
            return ball.project(ball.images + NOISE * numbers.normal(*ball.images.shape[1:]).to(ball.images))
        case _:
            return ball.images.clone()


def _ignore(step: int) -> None:
    pass
