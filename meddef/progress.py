"""Progress bars that behave in a terminal, in a notebook and in a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from torch import Tensor

LOG_INTERVAL = 30.0  # seconds between lines when the output is not a screen


def progress_bar(total: int, description: str, *, unit: str = "it", enabled: bool = True) -> tqdm[Any]:
    """A bar of ``total`` units; outside a terminal or notebook it prints a line every 30 s at most."""
    on_screen = sys.stderr.isatty() or "ipykernel" in sys.modules
    sized = _columns() > 0  # without a size tqdm draws nothing
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=unit != "it",
        disable=not enabled,
        mininterval=0.1 if on_screen else LOG_INTERVAL,
        dynamic_ncols=on_screen and sized,
        ncols=None if sized else 80,
        nrows=None if sized else 24,
        leave=True,
    )


def _columns() -> int:
    """Of the terminal behind stderr, 0 where it does not know (a container's, a CI job's); 80 without one."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 80


def watched(
    batches: Iterable[tuple[Tensor, Tensor]], images: int, description: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """``batches`` of ``images`` images in all, with a bar in a terminal, and nothing in a log file."""
    with progress_bar(images, description, unit="image", enabled=sys.stderr.isatty()) as bar:
        for x, y in batches:
            yield x, y
            bar.update(len(x))
