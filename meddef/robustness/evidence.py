"""The input of the checks: one model, some images, and the attacks on them, each computed once on demand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import (
    ShortReachWarning,
    ZeroGradientWarning,
    contract,
    ensemble,
    fgsm,
    noise,
    pgd,
    reach,
    square,
)
from meddef.attacks.losses import margin
from meddef.attacks.queries import ask
from meddef.errors import InputError
from meddef.evaluation.loader import checked_batches
from meddef.robustness.recorder import Recorder, Seen

Attack = Callable[..., Tensor]
CHUNK = 32  # images attacked at once


@dataclass(frozen=True)
class Budget:
    """The budget: total images, steps of the attack and of its stronger form, restarts, queries, ..."""

    images: int
    steps: int
    strong_steps: int
    restarts: int
    queries: int
    ensemble_steps: int
    planted: int  # images near which adversarial examples are planted


BUDGETS = {
    "brief": Budget(24, 8, 24, 1, 60, 4, 6),
    "quick": Budget(64, 20, 60, 2, 300, 10, 12),
    "standard": Budget(256, 40, 200, 5, 2000, 100, 50),
}
"""Name -> how much a report computes."""


@dataclass(frozen=True)
class Result:
    """The result of an attack: images (N, C, H, W), success (N,) and margin (N,)."""

    images: Tensor
    fooled: Tensor
    margin: Tensor


class Evidence:
    """A model on the images of a loader; attacks run on those classified correctly.

    Attributes:
        images, labels: of the first ``budget.images`` images. logits: (n, K) for them. cut: the loader may have more.
        x, y: those classified correctly.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[tuple[Tensor, Tensor]],
        *,
        eps: float,
        budget: Budget,
        attack: Attack | None,
        twin: nn.Module | None,
    ) -> None:
        self.model, self.twin, self.eps, self.budget = model, twin, eps, budget
        self.attack = attack or partial(_pgd, steps=budget.steps)
        self.images, self.labels = _gather(model, loader, budget.images)
        self.cut = len(self.images) == budget.images
        self.logits = contract.check_logits(self.answer(model, self.images), self.labels)
        if bool(contract.probable(self.logits)):
            contract.warn_of_probabilities()
        right = self.logits.argmax(1) == self.labels
        self.x, self.y = self.images[right], self.labels[right]

    def answer(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits in evaluation mode, without gradients."""
        with contract.attacking(model, images.device), contract.fresh_chance(images.device), torch.no_grad():
            parts = images.split(CHUNK)
            answers = (contract.check_output(ask(model, x, first=True), len(x)) for x in parts)
            return torch.cat([each.clone() for each in answers])  # a model may reuse its output

    def run(self, attack: Attack, *, model: nn.Module | None = None) -> Result:
        """``attack(model, images, labels)`` on ``x``, evaluated on ``model`` (None: the model under test)."""
        model = model or self.model
        return self.judged(_images(attack, model, self.x, self.y), model)

    def falls(self, attack: Attack, among: Tensor, *, model: nn.Module | None = None) -> Tensor:
        """Successes of ``attack`` on ``x``, (N,) bool; run only where ``among`` (N,) is true."""
        model = model or self.model
        fallen = torch.zeros_like(among)
        if among.any():
            found = _images(attack, model, self.x[among], self.y[among])
            fallen[among] = self.answer(model, found).argmax(1) != self.y[among]
        return fallen

    def judged(self, found: Tensor, model: nn.Module) -> Result:
        logits = self.answer(model, found)
        return Result(found, logits.argmax(1) != self.y, margin(logits, self.y))

    @cached_property
    def attacked(self) -> tuple[Result, Seen]:
        """The attack under test at eps, and the record of its queries."""
        recorder = Recorder(self.model)
        parts = []
        with quietly():
            for images, labels in zip(self.x.split(CHUNK), self.y.split(CHUNK), strict=True):
                recorder.expect(images, labels, self.eps)
                parts.append(self.attack(recorder, images.clone(), labels.clone(), eps=self.eps).detach())
                recorder.go_on(parts[-1])
        return self.judged(torch.cat(parts), self.model), recorder.seen()

    @property
    def result(self) -> Result:
        """The attack under test at eps."""
        return self.attacked[0]

    def at(self, eps: float) -> Result:
        """The attack under test at another eps."""
        return self.run(partial(self.attack, eps=eps))

    @cached_property
    def single_step(self) -> Result:
        return self.run(partial(fgsm, eps=self.eps))

    @cached_property
    def falls_to_more(self) -> Tensor:
        """Images on which only more effort succeeds, (N,) bool."""
        return self.falls(self.strong_attack, ~self.result.fooled)

    @property
    def strong_attack(self) -> Attack:
        """PGD with more steps, restarts, and the margin as its loss, whose success at any step counts."""
        steps, restarts = self.budget.strong_steps, self.budget.restarts
        return partial(_pgd, eps=self.eps, steps=steps, restarts=restarts, loss="margin", stop="first")

    @cached_property
    def gradient_free(self) -> Result:
        return self.run(partial(square, eps=self.eps, queries=self.budget.queries))

    @cached_property
    def random(self) -> Result:
        """Random signs of size eps."""
        return self.run(partial(noise, eps=self.eps))

    @cached_property
    def transferred(self) -> Result:
        """The attack under test on the undefended twin, evaluated on the model; only with a twin."""
        return self.judged(self.of_twin.images, self.model)

    @cached_property
    def of_twin(self) -> Result:
        """The same, evaluated on the twin."""
        return self.run(partial(self.attack, eps=self.eps), model=self.twin)

    @property
    def worst_attack(self) -> Attack:
        """The ensemble of PGD, APGD, FAB and Square."""
        budget = self.budget
        return partial(ensemble, eps=self.eps, steps=budget.ensemble_steps, queries=budget.queries)

    @cached_property
    def gradient(self) -> Tensor | None:
        """Gradient of the margin at ``x``, (N, C, H, W); None if missing or not finite."""
        return self._gradient(lambda logits, labels: margin(logits, labels))

    @cached_property
    def gradient_of_cross_entropy(self) -> Tensor | None:
        return self._gradient(partial(nn.functional.cross_entropy, reduction="none"))

    def _gradient(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor | None:
        parts = []
        for images, labels in zip(self.x.split(CHUNK), self.y.split(CHUNK), strict=True):
            with contract.attacking(self.model, images.device):
                leaf = images.detach().clone().requires_grad_()
                try:
                    parts.append(contract.input_gradient(loss(self.model(leaf), labels).sum(), leaf))
                except InputError:  # no gradient or NaN: a finding, not a caller's error
                    return None
        return torch.cat(parts)


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress warnings that have their own check: zero gradients, and steps that do not reach."""
    with warnings.catch_warnings():
        for kind in (ZeroGradientWarning, ShortReachWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _images(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """``images`` (N, C, H, W) after ``attack``, which may write into what it gets."""
    parts = zip(images.split(CHUNK), labels.split(CHUNK), strict=True)
    with quietly():
        return torch.cat([attack(model, some.clone(), their.clone()).detach() for some, their in parts])


def _pgd(
    model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int, **options: Any
) -> Tensor:
    """PGD whose steps add up to ``reach.REACH`` times the radius, for any number of steps."""
    return pgd(model, images, labels, eps=eps, step_size=reach.REACH * eps / steps, steps=steps, **options)


def _gather(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` images of the loader, checked, and their labels."""
    images, labels, found = [], [], 0
    for some, their in checked_batches(model, loader):
        images.append(some[: count - found].detach().clone())  # a loader may fill it again
        labels.append(their[: count - found])
        found += len(images[-1])
        if found == count:
            break
    if not found:
        raise InputError("the loader is empty: nothing to check")
    return torch.cat(images), torch.cat(labels)
