"""Robustness reports of the laboratory's models, sound and with a planted defect."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning, contract, pgd, reach
from meddef.attacks.balls import LinfBall
from meddef.attacks.loop import finish
from meddef.attacks.randomness import randomness
from meddef.laboratory.experiment import BATCH, load
from meddef.laboratory.models import subjects
from meddef.laboratory.tables import LABORATORY
from meddef.records import Record
from meddef.robustness import BUDGETS, CheckResult, robustness_report

EPS = 0.03
BUDGET = "quick"


class Altered(nn.Module):
    """A model with altered input and logits."""

    def __init__(
        self,
        model: nn.Module,
        before: Callable[[Tensor], Tensor] | None = None,
        after: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x if self.before is None else self.before(x))
        return logits if self.after is None else self.after(logits)


def rounded(x: Tensor) -> Tensor:
    """Sixteen grey levels: almost everywhere flat."""
    return (x * 15).round() / 15


def noisy(logits: Tensor) -> Tensor:
    """Fresh noise at every call."""
    return logits + torch.randn_like(logits)


def one_class(logits: Tensor) -> Tensor:
    """Always the second class."""
    return logits * 0 + nn.functional.one_hot(torch.tensor(1), logits.shape[1])


def timid(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
    """PGD with one step of a twentieth of eps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShortReachWarning)  # the report itself must detect that it is weak
        return pgd(model, images, labels, eps=eps, step_size=eps / 20, steps=1, random_start=False)


def saturating(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
    """The PGD of the reports with cross-entropy as it is usually computed, which rounds to 0."""
    ball = LinfBall(images, contract.per_image(eps, images, "eps"))
    steps = BUDGETS[BUDGET].steps
    size = contract.per_image(reach.REACH * eps / steps, images, "step_size")
    x = ball.random(randomness(images, None, 0, "pgd"))
    for _ in range(steps):
        leaf = x.requires_grad_()
        loss = nn.functional.cross_entropy(model(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        x = ball.step(leaf.detach(), gradient, size)
    return finish(ball, x)


def run(dataset: str, *, data_dir: Path | None = None) -> Iterator[Record]:
    """The records of the laboratory's models on one dataset, see ``rows``."""
    splits = load(dataset, data_dir)
    images = splits.test.batch(np.arange(len(splits.test)))
    loader = list(zip(*(part.split(BATCH) for part in images), strict=True))
    with TemporaryDirectory() as folder:
        undefended, defended = (subject.model for subject in subjects(splits, Path(folder)))
    models: dict[str, tuple[nn.Module, Callable[..., Tensor] | None]] = {
        "undefended": (undefended, None),
        "adversarially trained": (defended, None),
        "input rounded": (Altered(undefended, before=rounded), None),
        "logits × 10,000": (Altered(undefended, after=partial(torch.mul, other=1e4)), saturating),
        "noise in the logits": (Altered(undefended, after=noisy), None),
        "collapsed to a class": (Altered(undefended, after=one_class), None),
        "timid attack": (defended, timid),
    }
    for name, (model, attack) in models.items():
        torch.manual_seed(0)
        items = robustness_report(model, loader, eps=EPS, budget=BUDGET, attack=attack, twin=undefended)
        head = {"source_of_models": LABORATORY, "dataset": dataset, "model": name, "twin": "undefended"}
        yield from rows(head | {"eps": EPS, "budget": BUDGET}, items)


def rows(head: Record, items: Iterable[CheckResult]) -> Iterator[Record]:
    """One record per check: kind "robustness", ``head``, and the fields of the ``CheckResult``.

    head: source_of_models, dataset, model, twin (the undefended model beside it or None), eps, budget, and of a
    profile's models the seed.
    """
    return ({"kind": "robustness", **head, **item.as_dict()} for item in items)
