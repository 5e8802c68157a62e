"""Arithmetic settings of a process: threads, TF32 and determinism.

Each setting is process-wide, and each block below restores it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions on a GPU in full float32; PyTorch's default rounds their operands to 10 bits of mantissa."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


@contextmanager
def repeatable() -> Iterator[None]:
    """Deterministic convolutions on a GPU: the same input gives bit-identical output.

    On an H100 that costs 7 % of the time of PGD. Another batch is another input: see the book's definitions.
    """
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Run on ``count`` CPU threads (the number affects rounding)."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def recorded(threads: int) -> Iterator[None]:
    """The settings of recorded cells: ``repeatable``, ``on_threads``, and deterministic algorithms.

    PyTorch warns about operations without one.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with repeatable(), on_threads(threads):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
