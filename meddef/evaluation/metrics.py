"""``evaluate``: what an attack does to a model, as counts, rates with intervals, and confusion matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks.capture import climbing
from meddef.errors import InputError
from meddef.statistics import AttackCounts, Proportion

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Outcome of one attack on one model over one set of images.

    Attributes:
        labels, before, after: int64 arrays (n,): true class, prediction on the clean and on the attacked image.
        linf: largest change of any pixel over all images, in pixel units [0, 1].
        l0: largest number of changed features (pixels times channels) of any image.
        num_classes: K, the number of logits.
    """

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    linf: float
    l0: int
    num_classes: int

    @property
    def counts(self) -> AttackCounts:
        """n, correct before, correct after, flipped (right before and wrong after)."""
        right_before, right_after = self.before == self.labels, self.after == self.labels
        return AttackCounts(
            n=len(self.labels),
            correct_before=int(right_before.sum()),
            correct_after=int(right_after.sum()),
            flipped=int((right_before & ~right_after).sum()),
        )

    @property
    def asr(self) -> Proportion:
        """Attack success rate with its Wilson interval."""
        return self.counts.asr

    @property
    def clean_accuracy(self) -> Proportion:
        """Correct before / all, with its Wilson interval."""
        return self.counts.clean_accuracy

    @property
    def robust_accuracy(self) -> Proportion:
        """Correct after / all, with its Wilson interval."""
        return self.counts.robust_accuracy

    def confusion(self, which: str = "after") -> np.ndarray:
        """Counts (K, K): true class by row, predicted class by column; ``which`` is "before" or "after"."""
        predictions = {"before": self.before, "after": self.after}[which]
        return confusion_matrix(self.labels, predictions, self.num_classes)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (K, K) of int64: true class by row, predicted class by column."""
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def evaluate(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], attack: Attack | None) -> Evaluation:
    """Attack every batch of ``loader`` and count.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K); judged in evaluation mode, its mode is restored.
        loader: batches of (images float (N, C, H, W), labels int (N,)), on the model's device.
        attack: ``(model, images, labels) -> images`` of the same shape, such as those of ``meddef.attacks`` with their
            settings bound by ``functools.partial``; None evaluates clean images.

    Raises:
        InputError: no image in ``loader``; labels that are no class indices below K, pixels outside [0, 1]. Whatever
            ``attack`` raises: no image counts as robust by default.
    """
    told: list[
        tuple[Tensor, Tensor, Tensor]
    ] = []  # labels, answers before and after; they stay on the device
    linf, l0, num_classes = 0.0, 0, 0
    training = model.training
    model.eval()
    with ExitStack() as stack:
        stack.callback(model.train, training)
        for images, targets in loader:
            if not len(images):
                continue
            _check_labels(targets, len(images))
            if not told:
                stack.enter_context(climbing(images.device))
            attacked = images if attack is None else attack(model, images, targets)
            if attacked.shape != images.shape:
                raise ValueError(f"the attack returned {tuple(attacked.shape)} for {tuple(images.shape)}")
            with torch.no_grad():
                clean_logits, attacked_logits = model(images), model(attacked)
            num_classes = clean_logits.shape[1]
            finite = torch.isfinite(clean_logits).all() & torch.isfinite(attacked_logits).all()
            change = (attacked - images).abs().flatten(1)
            measured = (
                finite, change.max(), (change > 0).sum(1).max(), *images.aminmax(), *targets.to(images.device).aminmax()
            )  # fmt: skip
            seen = torch.stack([value.double() for value in measured]).tolist()
            _check_ends(seen[3], seen[4], seen[5], seen[6], num_classes)
            if not seen[0]:
                raise ValueError("the model's logits are not finite: its accuracy cannot be judged")
            linf, l0 = max(linf, seen[1]), max(l0, int(seen[2]))
            told.append((targets, clean_logits.argmax(1), attacked_logits.argmax(1)))
    if not told:
        raise InputError("the loader gave no image: nothing to evaluate")
    labels, before, after = (torch.cat(part).cpu().numpy() for part in zip(*told, strict=True))
    return Evaluation(labels, before, after, linf, l0, num_classes)


def _check_labels(labels: Tensor, count: int) -> None:
    if labels.is_floating_point() or labels.shape != (count,):
        raise InputError(
            f"labels must be integer class indices ({count},), got {labels.dtype} of shape {tuple(labels.shape)}"
        )


def _check_ends(low: float, high: float, first: float, last: float, classes: int) -> None:
    """Refuse pixels outside [0, 1] and labels outside the classes, from the least and the largest of each."""
    if not 0 <= low <= high <= 1:
        raise InputError(f"pixels must be in [0, 1], got {low:.3g} to {high:.3g}: normalise inside the model")
    if not 0 <= first <= last < classes:
        raise InputError(f"labels go from {first:.0f} to {last:.0f}: the model has {classes} classes")
