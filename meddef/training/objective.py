"""Training objectives: which images of a batch are attacked, how, and the loss. Clean training is the base.

A method of adversarial training is a subclass in its own file; ``meddef.training.methods`` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training.inner_attack import Search
from meddef.training.process_group import Team
from meddef.training.schedule import schedule_of, training_step


@dataclass(frozen=True)
class Passed:
    """Outputs of the model, in training mode, for a batch or this process's share of it.

    ``clean`` (n, K) and ``adversarial`` (m, K) are float32 logits of this process's shares of the images and of the
    attacked versions of the first ``attacked`` of them; ``labels`` (N,) are the whole batch's, ``weights`` (K,) those
    of the classes.
    """

    clean: Tensor
    adversarial: Tensor
    labels: Tensor
    attacked: int
    team: Team
    weights: Tensor | None = None

    def cross_entropy(self, logits: Tensor, count: int) -> Tensor:
        """This process's part of the mean cross-entropy over the first ``count`` images; ``logits`` of its share."""
        labels = self.labels[:count]
        if self.team.size == 1:  # the same as below, up to rounding of weighted means
            return F.cross_entropy(logits, labels, self.weights)
        total = count if self.weights is None else self.weights[labels].sum()
        mine = labels[self.team.share(count)]
        return F.cross_entropy(logits, mine, self.weights, reduction="sum") / total


class Objective:
    """Clean training in one epoch: cross-entropy on clean images."""

    learns_clean = True  # whether clean images also pass through the model

    def __init__(self, settings: TrainingSettings, number: int, ease: float) -> None:
        """``number`` of the epoch, from 0; ``ease`` as in ``EpsilonSchedule``."""
        self.settings, self.number, self.ease = settings, number, ease

    def plan(self) -> dict[str, Any]:
        """Phase, epsilon, step size and weight of the adversarial loss; None for clean training."""
        return dict.fromkeys(("phase", "epsilon", "step_size", "adversarial_weight"))

    def attacked(self, count: int) -> int:
        """Number of attacked images, the first of a batch of ``count``."""
        return 0

    def search(self) -> Search:
        """The attack; only called where images are attacked."""
        raise NotImplementedError

    def loss(self, passed: Passed) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and its unweighted clean and adversarial parts; means over the batch."""
        loss = passed.cross_entropy(passed.clean, len(passed.labels))
        return loss, loss, loss.new_zeros(())


class Rival(Objective):
    """All images are attacked, at one epsilon from the first epoch to the last, or at the schedule's."""

    weight = 1.0

    @property
    def rule(self) -> AdversarialSettings:
        assert self.settings.adversarial is not None
        return self.settings.adversarial

    @property
    def epsilon(self) -> float:
        """Of this epoch; it is never eased."""
        if self.rule.schedule is None:
            return self.rule.epsilon
        return schedule_of(self.rule, self.settings.epochs).epsilon(self.number)

    def plan(self) -> dict[str, Any]:
        search = self.search()
        schedule = None if self.rule.schedule is None else schedule_of(self.rule, self.settings.epochs)
        phase = "fixed" if schedule is None else schedule.phase(self.number)
        values = (phase, search.eps, search.step_size, self.weight)
        return dict(zip(super().plan(), values, strict=True))

    def attacked(self, count: int) -> int:
        return count

    def search(self) -> Search:
        """PGD from a random start whose steps add up to 2.5 epsilon, the project's rule (ten: epsilon / 4 each)."""
        eps, steps = self.epsilon, self.rule.steps
        return Search(eps, training_step(eps, steps), steps)
