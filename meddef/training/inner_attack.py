"""The attack inside adversarial training: PGD on a surrogate that is made once and filled again before every batch."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.balls import LinfBall
from meddef.attacks.capture import climbing
from meddef.attacks.fast import gradient_source, layout
from meddef.attacks.loop import Run, finish
from meddef.attacks.losses import Goal
from meddef.attacks.randomness import PerImage
from meddef.attacks.shadow import Shadow
from meddef.attacks.surrogate import Surrogate
from meddef.errors import InputError

logger = logging.getLogger(__name__)

EVERY = 16
"""Calls between two comparisons of the copy with the model."""


class InnerAttack:
    """PGD with cross-entropy and a random start on the current weights of ``model``, in evaluation mode.

    Gradients come from a ``Surrogate`` of the model (on a GPU a ``Shadow``, whose steps are recorded once while the
    trainer holds ``climbing``) or, where it cannot be traced or no longer computes what the model does, from the model
    itself. A ``Surrogate`` is compared with the model now and then, a ``Shadow`` in the first batch of every epoch.

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
        """A ``Shadow`` is compared with the model in the next call."""
        self._compared = False

    def __call__(self, images: Tensor, labels: Tensor, *, eps: float, step_size: float, seed: int) -> Tensor:
        """Images (N, C, H, W) within ``eps`` and [0, 1]; the random start belongs to (seed, image).

        Raises:
            InputError: logits or gradients that are not finite.
        """
        if not len(images):
            return images
        with contract.attacking(self.model, images.device), climbing(images.device, self.steps) as climb:
            ball = LinfBall(layout(images, fast=True), contract.per_image(eps, images, "eps"))
            size = contract.per_image(step_size, images, "step_size")
            index = torch.arange(len(images), device=images.device)
            source = self._refreshed(ball.images, labels)
            run = Run(self.model, source, Goal(labels), ball, size, index, len(images))
            start = ball.random(PerImage(images, seed, "training"))
            return finish(ball, climb(run, start, self.steps, stop="never", report=_ignore, trace=None))

    def _refreshed(self, images: Tensor, labels: Tensor) -> nn.Module:
        """The source of gradients with the weights of now."""
        if isinstance(self._source, Surrogate | Shadow):
            self._source.refresh()
            if isinstance(self._source, Surrogate) and self._due() and not self._source.agrees(images[:1]):
                logger.warning(
                    "the copy that the attack in training uses is no longer the model: it attacks the model"
                )
                self._source = gradient_source(self.model, images, fast=False, precision=self.precision)
        elif self._source is None:
            try:
                self._source = gradient_source(self.model, images, fast=True, precision=self.precision)
            except InputError:
                self._source = gradient_source(self.model, images, fast=False, precision=self.precision)
        if isinstance(self._source, Shadow) and not self._compared:
            self._source = self._unless_apart(self._source, images, labels)
        self._compared = True
        return self._source

    def _unless_apart(self, shadow: Shadow, images: Tensor, labels: Tensor) -> nn.Module:
        """The shadow, or the model where their losses differ by more than rounding explains."""
        apart, most = shadow.departure(self.model, images, labels)
        if apart <= most or not math.isfinite(
            most
        ):  # what the model itself cannot compute, others will notice
            return shadow
        logger.warning(
            "the copy that the attack in training uses is no longer the model: its loss is off by %.3g, and rounding "
            "explains %.3g; from now on it attacks the model, which is slower",
            apart,
            most,
        )
        return self.model

    def _due(self) -> bool:
        """Whether to compare the copy with the model (5 % of a call): in the first calls, then now and then."""
        self._calls += 1
        return self._calls <= EVERY // 2 or self._calls % EVERY == 0


def _ignore(step: int) -> None:
    pass
