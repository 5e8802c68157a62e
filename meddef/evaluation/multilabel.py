"""Models of several labels an image, each there or not (multi-label): every label is attacked and judged alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from meddef.errors import InputError
from meddef.evaluation.judge import Attack
from meddef.evaluation.loader import _pair
from meddef.evaluation.metrics import Evaluation, evaluate
from meddef.models import Binary


def evaluate_labels(
    model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], attack: Attack | None
) -> list[Evaluation]:
    """Attack each label in turn, as the question of two classes that it is: 1 where its sigmoid is above one half.

    An attack on a label may do to the others what it likes: each outcome is the worst case of its own label.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, L).
        loader: batches of (images, labels (N, L) of 0 and 1, of any type); it is gone through once a label.
        attack: as for ``evaluate``; it gets a model of two classes and labels (N,), so that its cross-entropy is the
            binary one of that label.

    Returns:
        An outcome a label, in their order; class 1 is the label.

    Raises:
        InputError: labels that are not 0 and 1, or not one a logit; a loader that can be gone through only once;
            whatever ``evaluate`` refuses.
    """
    if iter(loader) is loader:
        raise InputError("the loader is gone through once a label: give a list or a DataLoader, no generator")
    _, first = _pair(next(iter(loader), None))
    if not isinstance(first, Tensor) or first.ndim != 2 or not first.shape[1]:
        got = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise InputError(
            f"labels must be 0 and 1, shape (N, L), got {got}: for one class an image use evaluate"
        )
    labels = first.shape[1]
    return [evaluate(Binary(model, j, labels), _of(loader, j, labels), attack) for j in range(labels)]


def _of(loader: Iterable[tuple[Tensor, Tensor]], label: int, labels: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images, and int64 (N,) whether they have the label."""
    for batch in loader:
        images, given = _pair(batch)
        if not isinstance(given, Tensor) or given.ndim != 2 or given.shape[1] != labels:
            raise InputError(f"labels must have shape (N, {labels}) in every batch")
        column = given[:, label]
        if not bool(((column == 0) | (column == 1)).all()):
            raise InputError(
                f"labels must be 0 or 1, got {column.tolist()}: leave uncertain and missing ones out"
            )
        yield images, column.to(torch.int64)
