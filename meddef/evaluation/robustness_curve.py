"""Accuracy against ε, and of each image the least ε of a grid at which the attack succeeds.

An image that falls at one ε counts as fallen at every larger one, whose ball holds the same perturbation. So the curve
never rises, and only images that still stand are attacked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks.capture import climbing
from meddef.errors import InputError
from meddef.evaluation.judge import Attack
from meddef.evaluation.loader import checked_batches
from meddef.evaluation.metrics import evaluate
from meddef.statistics import Proportion


@dataclass(frozen=True)
class MinimalEps:
    """Of each image the least of ``grid`` at which its answer was wrong.

    Attributes:
        grid: ascending, in the units of the attack.
        labels, before: int64 (n,): true class, and prediction on the clean image.
        least: float64 (n,); 0 where the answer was wrong without an attack, inf where it is right at all of ``grid``.
    """

    grid: tuple[float, ...]
    labels: np.ndarray
    before: np.ndarray
    least: np.ndarray

    def robust_accuracy(self, eps: float) -> Proportion:
        """Right at ``eps`` and at every smaller one of the grid / all; at 0 this is clean accuracy."""
        return Proportion(int((self.least > eps).sum()), len(self.least))

    @property
    def fallen(self) -> dict[float, int]:
        """Smallest ε (0, those of the grid, inf) -> number of images."""
        counts = Counter(self.least.tolist())
        return {eps: counts[eps] for eps in (0.0, *self.grid, math.inf)}

    @property
    def median(self) -> float:
        """The lower median over correctly classified images, one of the grid; inf where more than half resist."""
        right = np.sort(self.least[self.least > 0])
        return float(right[(len(right) - 1) // 2]) if len(right) else math.nan


def minimal_eps(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attack: Callable[[float], Attack],
    grid: Sequence[float],
) -> MinimalEps:
    """Attack what still stands at each ε in turn.

    Args:
        model, loader: as for ``evaluate``.
        attack: of an ε the attack, as ``evaluate`` takes it.
        grid: at least one ε, each above 0.

    Raises:
        InputError: an empty grid or an ε that is not above 0; whatever ``evaluate`` refuses.
    """
    radii = sorted(set(grid))
    if not radii or not radii[0] > 0 or not math.isfinite(radii[-1]):
        raise InputError(f"the grid must hold an ε above 0 at least, got {list(grid)}")
    parts: list[tuple[np.ndarray, ...]] = []
    with ExitStack() as stack:
        for images, labels in checked_batches(model, loader):
            if not parts:
                stack.enter_context(climbing(images.device))
            clean = evaluate(model, [(images, labels)], None)
            least = np.where(clean.before == clean.labels, math.inf, 0.0)
            for eps in radii:
                standing = np.flatnonzero(least == math.inf)
                if not len(standing):
                    break
                rows = torch.from_numpy(standing).to(labels.device)
                outcome = evaluate(model, [(images[rows], labels[rows])], attack(eps))
                least[standing[outcome.after != outcome.labels]] = eps
            parts.append((clean.labels, clean.before, least))
    if not parts:
        raise InputError("the loader gave no image: nothing to evaluate")
    return MinimalEps(tuple(radii), *(np.concatenate(column) for column in zip(*parts, strict=True)))
