"""How a GPU computes: in float32 proper or with rounded operands, and whether it computes the same twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions on a GPU in float32 proper; PyTorch's default rounds their operands to 10 bits of mantissa."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


@contextmanager
def repeatable() -> Iterator[None]:
    """Convolutions on a GPU by algorithms that add up in one order: the same input gives the same bits.

    On an H100 that costs 7 % of the time of PGD. Another batch is another input: see the book's definitions.
    """
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
