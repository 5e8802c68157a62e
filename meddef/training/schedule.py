"""The paper's three-phase epsilon schedule (Section IV-B "Adversarial Training and Evaluation Parameter"), and one of
a profile's own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from meddef.attacks.reach import step_size
from meddef.settings import AdversarialSettings, Phase

WARMUP_EPOCHS = 8
AGGRESSIVE_EPOCHS = 15
PAPER_EPOCHS = 100
PAPER_STEPS = 40
STEP_DIVISOR = 6.0
STEP_CAP = 0.003


@dataclass(frozen=True)
class EpsilonSchedule:
    """Perturbation budget and weight of the adversarial loss, epoch by epoch.

    | phase | epochs of the paper's 100 | epsilon | adversarial weight |
    | --- | --- | --- | --- |
    | warm-up | 0 to 7 | 0.01 -> 0.02, linear | 0.2 |
    | aggressive | 8 to 22 | 0.02 -> 0.04, quadratic | 0.2 -> 0.5, linear |
    | stabilization | 23 to 99 | 0.03 | 0.5 |

    In a run of fewer (or more) epochs, epoch e corresponds to the paper's epoch e * 100 / epochs: with few epochs a
    phase may have one or none, and the largest epsilon may not be reached. The paper's "epsilon <= 0.03" for the last
    phase is taken as 0.03.

    Args:
        epochs: length of the run, at least 1.
        ease: factor in (0, 1] on epsilon and weight; the trainer lowers it when validation degrades.
        steps: number of PGD steps, at least 1.
    """

    epochs: int = PAPER_EPOCHS
    ease: float = 1.0
    steps: int = PAPER_STEPS

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}: a schedule needs at least 1")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: PGD needs at least 1")
        if not 0 < self.ease <= 1:
            raise ValueError(f"ease is {self.ease}: it must lie in (0, 1]")

    def phase(self, epoch: int) -> str:
        """Name of the phase that ``epoch`` (0-based) lies in."""
        position = self._paper_epoch(epoch)
        if position < WARMUP_EPOCHS:
            return "warm-up"
        if position < WARMUP_EPOCHS + AGGRESSIVE_EPOCHS:
            return "aggressive"
        return "stabilization"

    def epsilon(self, epoch: int) -> float:
        """Perturbation budget in pixel units, L-infinity, for ``epoch`` (0-based)."""
        position = self._paper_epoch(epoch)
        phase = self.phase(epoch)
        if phase == "warm-up":
            budget = 0.01 + 0.01 * position / WARMUP_EPOCHS
        elif phase == "aggressive":
            budget = 0.02 + 0.02 * ((position - WARMUP_EPOCHS) / AGGRESSIVE_EPOCHS) ** 2
        else:
            budget = 0.03
        return self.ease * budget

    def adversarial_weight(self, epoch: int) -> float:
        """Weight w of the loss (1 - w) * clean + w * adversarial for ``epoch`` (0-based)."""
        phase = self.phase(epoch)
        if phase == "warm-up":
            weight = 0.2
        elif phase == "aggressive":
            weight = 0.2 + 0.3 * (self._paper_epoch(epoch) - WARMUP_EPOCHS) / AGGRESSIVE_EPOCHS
        else:
            weight = 0.5
        return self.ease * weight

    def step_size(self, epoch: int) -> float:
        """PGD step in pixel units for ``epoch`` (0-based), see ``training_step``."""
        return training_step(self.epsilon(epoch), self.steps)

    def _paper_epoch(self, epoch: int) -> float:
        if not 0 <= epoch < self.epochs:
            raise ValueError(f"epoch {epoch} lies outside this run of {self.epochs} epochs (0-based)")
        return epoch * PAPER_EPOCHS / self.epochs


@dataclass(frozen=True)
class OwnSchedule:
    """The phases that a profile gives under ``training.adversarial.schedule``, with the methods of ``EpsilonSchedule``.

    A pair of values is its phase's first and last epoch's, with equal steps between. In a run of fewer (or more) epochs
    than the phases have together, epoch e corresponds to their epoch e * (their sum) / epochs.

    >>> schedule = OwnSchedule((Phase(epochs=3, epsilon=[0.01, 0.03]), Phase(epochs=2, epsilon=0.03)), epochs=5)
    >>> [schedule.epsilon(epoch) for epoch in range(5)]
    [0.01, 0.02, 0.03, 0.03, 0.03]
    """

    phases: Sequence[Phase]
    epochs: int
    ease: float = 1.0
    steps: int = PAPER_STEPS

    def phase(self, epoch: int) -> str:
        """ "phase 1", "phase 2", ..."""
        return f"phase {self._place(epoch)[0] + 1}"

    def epsilon(self, epoch: int) -> float:
        """Pixel units, L-infinity, for ``epoch`` (0-based)."""
        number, share = self._place(epoch)
        return self.ease * _between(self.phases[number].epsilon, share)

    def adversarial_weight(self, epoch: int) -> float:
        """Weight of the adversarial loss for ``epoch`` (0-based)."""
        number, share = self._place(epoch)
        weight = self.phases[number].weight
        return self.ease * (WEIGHT if weight is None else _between(weight, share))

    def step_size(self, epoch: int) -> float:
        """PGD step in pixel units for ``epoch`` (0-based), see ``training_step``."""
        return training_step(self.epsilon(epoch), self.steps)

    def _place(self, epoch: int) -> tuple[int, float]:
        """The phase of an epoch, and the share of the way from its first epoch to its last, in [0, 1]."""
        if not 0 <= epoch < self.epochs:
            raise ValueError(f"epoch {epoch} lies outside this run of {self.epochs} epochs (0-based)")
        ends = list(accumulate(phase.epochs for phase in self.phases))
        position = epoch * ends[-1] / self.epochs
        number = bisect_right(ends, position)
        length = self.phases[number].epochs
        passed = position - (ends[number] - length)
        return number, 1.0 if length == 1 else min(passed / (length - 1), 1.0)


WEIGHT = 0.5
"""Of the adversarial loss where a phase gives none: the paper's last."""


def _between(value: float | Sequence[float], share: float) -> float:
    first, last = (value, value) if isinstance(value, float | int) else value
    return first + (last - first) * share


def schedule_of(rule: AdversarialSettings, epochs: int, ease: float = 1.0) -> EpsilonSchedule | OwnSchedule:
    """The schedule of the paper's recipe in a run of ``epochs``: the paper's, or the settings' own."""
    if rule.schedule is None:
        return EpsilonSchedule(epochs, ease, rule.steps)
    return OwnSchedule(rule.schedule, epochs, ease, rule.steps)


def training_step(epsilon: float, steps: int) -> float:
    """Step of the PGD used in training and model selection, pixel units.

    The paper's min(epsilon / 6, 0.003) is meant for its 40 steps; where fewer steps cannot reach from a random start,
    it is 2.5 epsilon / steps (see ``meddef.attacks.reach.step_size``).

    >>> training_step(0.03, 40)
    0.003
    >>> training_step(0.03, 10)
    0.0075
    """
    return step_size(epsilon, steps, paper_step=min(epsilon / STEP_DIVISOR, STEP_CAP))
