"""The paper's three-phase epsilon schedule (Section IV-B "Adversarial Training and Evaluation Parameter")."""

from __future__ import annotations

from dataclasses import dataclass

from meddef.attacks.reach import step_size

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
