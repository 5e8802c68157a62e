"""Batches from a caller's loader: checked, with int64 labels, without empty ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from meddef.attacks import contract
from meddef.errors import InputError

PAIRS = "batches must be pairs (images, labels)"
BATCH = 32
"""Images of a ``Dataset`` that are judged at once."""


def checked_batches(
    model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]] | Dataset[Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (N, C, H, W), N > 0, floating point in [0, 1], and labels (N,), int64 on their device.

    Args:
        model: anything but an ``nn.Module`` is refused.
        loader: such as a ``torch.utils.data.DataLoader``; empty batches are skipped. A ``Dataset`` of pairs
            (image, label) is read in its order, in batches of 32, and brought to the model's device.

    Raises:
        InputError: one line with the actual and the expected form of a batch.
    """
    if isinstance(loader, Dataset):
        loader = _in_batches(loader, model)
    try:
        batches = iter(loader)
    except TypeError as error:
        kind = type(loader).__name__
        raise InputError(
            f"the loader must give pairs (images, labels), got {kind}: [(images, labels)] is one"
        ) from error
    for batch in batches:
        images, labels = _pair(batch)
        if isinstance(images, Tensor) and images.ndim and not len(images):
            continue
        yield images, contract.check_batch(model, images, labels).clone()  # a loader may fill it again


def _in_batches(images: Dataset[Any], model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    for batch in DataLoader(images, batch_size=BATCH):
        some, labels = _pair(batch)
        yield (some, labels) if weights is None else (some.to(weights.device), labels.to(weights.device))


def _pair(batch: object) -> tuple[Tensor, Tensor]:
    """The two parts of a batch; a dict, a single tensor or three parts are refused rather than unpacked by accident."""
    if isinstance(batch, Mapping):
        keys = ", ".join(map(str, batch))
        raise InputError(f"{PAIRS}, got a dict with {keys}: give ((b['image'], b['label']) for b in loader)")
    if isinstance(batch, Tensor):
        raise InputError(
            f"{PAIRS}, got one tensor {tuple(batch.shape)}: a loader is a list of pairs, not a pair"
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        kind = type(batch).__name__
        got = f"{kind} of {len(batch)}" if isinstance(batch, tuple | list) else kind
        raise InputError(f"{PAIRS}, got a {got}: give ((b[0], b[1]) for b in loader)")
    return batch[0], batch[1]
