"""A classifier behind a defence, and the gradient sources of three attackers.

An attack on a defence proves nothing while its gradients are only broken (Athalye, Carlini and Wagner 2018,
https://arxiv.org/abs/1802.00420). So each defence is evaluated under three attackers:

- naive: uses the defence's own gradients: none through a codec, a rounding or a classifier without gradients, one draw
of a random defence;
- adaptive: knows the defence and bypasses it: straight through a step that changes little and has no gradient
  (BPDA), through the mean over draws of a random one (EOT);
- transfer: ignores it, and attacks the bare classifier.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.errors import InputError

BEYOND = 0.01  # tolerance outside [0, 1] for a gradient probe
ATTACKERS = ("naive", "adaptive", "transfer")
"""Attackers of a defence, in turn of the bare model, through the defence, and with examples made on another model."""


class Defended(nn.Module):
    """Images (N, C, H, W) in [0, 1] to the outputs of the defended system, (N, K).

    Attacks use ``seen_by(attacker)``, also a model. The system itself has the adaptive gradient if it exists; the votes
    of a smoothed classifier have none, and are refused.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.training = classifier.training  # so that nothing is switched that need not be

    def seen_by(self, attacker: str) -> nn.Module:
        """The model that ``attacker``, one of ``ATTACKERS``, takes gradients from.

        Raises:
            InputError: an unknown attacker.
        """
        if attacker not in ATTACKERS:
            raise InputError(f"attacker must be one of {', '.join(ATTACKERS)}; got {attacker!r}")
        return {"naive": self.naive, "adaptive": self.adaptive, "transfer": lambda: self.classifier}[
            attacker
        ]()

    def naive(self) -> nn.Module:
        return Blocked(self)

    def adaptive(self) -> nn.Module:
        return self


class Preprocessed(Defended):
    """A classifier behind ``transform``, whose gradient is approximated (BPDA)."""

    @abstractmethod
    def transform(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to images of the same shape, dtype and device; no gradient is needed."""

    def forward(self, images: Tensor) -> Tensor:
        check_pixels(images)
        with torch.no_grad():
            changed = self.transform(images.detach())
        logits: Tensor = self.classifier(_StraightThrough.apply(images, changed, self.back))
        return logits

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient at the images (N, C, H, W) from that at the transformed ones: the identity."""
        return gradient


def check_pixels(images: Tensor) -> None:
    """Refuse values clearly outside [0, 1], for which a codec, a rounding or noise would be meaningless.

    On a CPU: elsewhere it would wait for the device in every step, and ``evaluate`` and attacks check their images.

    Raises:
        InputError: NaN, or values outside by more than ``BEYOND``.
    """
    if images.device.type == "cpu":
        low, high = images.detach().aminmax()
        if not (low >= -BEYOND and high <= 1 + BEYOND):
            contract.check_range(images)


class Blocked(nn.Module):
    """The same outputs with an input gradient of exactly zero, as when part of the model is not differentiable."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.detach())
        return logits + 0 * images.flatten(1).sum(1, keepdim=True)


class _StraightThrough(torch.autograd.Function):
    """The value of ``changed``, with ``back`` of its gradient for ``images``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, changed: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return changed.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradient), None, None


def made_on(source: nn.Module, attack: Callable[..., Tensor]) -> partial[Tensor]:
    """``attack`` for ``meddef.evaluation.evaluate`` that queries ``source`` instead of the evaluated model.

    >>> evaluate(defended, loader, made_on(defended.seen_by("transfer"), partial(pgd, eps=8 / 255, ...)))
    """
    return partial(_made_on, source=source, attack=attack)


def _made_on(
    model: nn.Module, images: Tensor, labels: Tensor, *, source: nn.Module, attack: Callable[..., Tensor]
) -> Tensor:
    return attack(source, images, labels)
