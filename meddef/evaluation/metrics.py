"""``evaluate``: the effect of an attack on a model, as counts, rates with intervals, and confusion matrices."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from meddef.attacks.capture import climbing
from meddef.attacks.targets import check_untargeted
from meddef.errors import InputError
from meddef.evaluation.coupling import warn_if_coupled
from meddef.evaluation.judge import Attack, Judged, Targets, judge
from meddef.evaluation.loader import checked_batches
from meddef.module_state import evaluating
from meddef.statistics import AttackCounts, Proportion

ARRAYS = ("labels", "before", "after")
SCORES = ("scores_before", "scores_after", "l2")


@dataclass(frozen=True)
class Evaluation:
    """Outcome of one attack on one model over one set of images.

    Attributes:
        labels, before, after: int64 arrays (n,): true class, prediction on the clean and on the attacked image.
        linf: largest change of any pixel over all images, in pixel units [0, 1].
        l0: largest number of changed features (pixels times channels) of any image.
        num_classes: K, the number of logits.
        targets: int64 (n,), the target classes of a targeted attack; None for others.
        scores_before, scores_after: softmax probabilities, float32 (n, K); None where only answers were kept.
        l2: Euclidean length of the change of each image, float64 (n,); None where only answers were kept.
    """

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    linf: float
    l0: int
    num_classes: int
    targets: np.ndarray | None = None
    scores_before: np.ndarray | None = None
    scores_after: np.ndarray | None = None
    l2: np.ndarray | None = None

    @property
    def counts(self) -> AttackCounts:
        """n, correct before, correct after, flipped (correct before and wrong after)."""
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

    @property
    def targeted_success(self) -> Proportion:
        """Images moved to the target, of those correct before whose class is not the target.

        Raises:
            InputError: the attack was not targeted.
        """
        if self.targets is None:
            raise InputError("no targeted attack was evaluated: give evaluate targets=")
        tried = (self.before == self.labels) & (self.labels != self.targets)
        return Proportion(int((self.after == self.targets)[tried].sum()), int(tried.sum()))

    def confusion(self, which: str = "after") -> np.ndarray:
        """Counts (K, K): true class by row, predicted class by column; ``which`` is "before" or "after"."""
        predictions = {"before": self.before, "after": self.after}[which]
        return confusion_matrix(self.labels, predictions, self.num_classes)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (K, K) of int64: true class by row, predicted class by column."""
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def evaluate(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]] | Dataset[Any],
    attack: Attack | None,
    *,
    targets: Targets | None = None,
) -> Evaluation:
    """Attack every batch of ``loader`` and count correct predictions.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K), K >= 2; run in evaluation mode and restored afterwards,
            module by module. It may write into its input: it gets a copy.
        loader: batches of (images float (N, C, H, W), labels of any integer type (N,)), on the model's device;
            or a ``torch.utils.data.Dataset`` of pairs (image, label).
        attack: ``(model, images, labels) -> images`` of the same shape, dtype and device in [0, 1], such as those of
            ``meddef.attacks`` with their settings bound by ``functools.partial``; None evaluates clean images.
        targets: for a targeted attack, which gets them in place of the labels: one class, or a function of the clean
            logits (N, K) and the labels (N,) that returns the target classes, integers (N,).

    Warns:
        SwitchedOffWarning: the model is in evaluation mode, and has layers in training mode.
        CoupledBatchWarning: its logits for an image depend on the other images of the batch.

    Raises:
        InputError: an empty ``loader``; anything but pairs of images in [0, 1] and class indices below K; outputs that
            are not finite logits; an attack that does not return images in [0, 1], or is targeted without ``targets``.
        Exception: whatever ``attack`` raises; no image counts as robust by default.
    """
    if attack is None and targets is not None:
        raise InputError("targets without an attack: give a targeted one, or leave targets out")
    if attack is not None and targets is None:
        check_untargeted(attack)
    judged: list[Judged] = []
    linf, l0 = 0.0, 0
    with ExitStack() as stack:
        for images, labels in checked_batches(model, loader):
            if not judged:
                stack.enter_context(evaluating(model))
                stack.enter_context(climbing(images.device))
            part, change, changed = judge(model, images, labels, attack, targets)
            if judged and part.num_classes != judged[0].num_classes:
                raise InputError(
                    f"the model returns {part.num_classes} classes here and {judged[0].num_classes} before"
                )
            linf, l0 = max(linf, change), max(l0, changed)
            if not judged:
                first = images, labels
            judged.append(part)
        if judged and attack is not None:
            warn_if_coupled(model, *first)
    if not judged:
        raise InputError("the loader is empty: nothing to evaluate")
    true, before, after, *scores = (
        _joined([getattr(part, name) for part in judged]) for name in (*ARRAYS, *SCORES)
    )
    aims = [part.targets for part in judged if part.targets is not None]
    reached = _joined(aims) if aims else None
    if reached is not None and (reached == true).all():
        raise InputError("every target is the true class of its image: no attack is possible")
    return Evaluation(true, before, after, linf, l0, judged[0].num_classes, reached, *scores)


def _joined(parts: list[Tensor]) -> np.ndarray:
    """(n, ...), from the batches."""
    joined: np.ndarray = torch.cat(parts).cpu().numpy()
    return joined
