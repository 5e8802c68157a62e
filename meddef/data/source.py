"""The common form of all sources before preprocessing: a list of items and a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class UnreadableImage(Exception):
    """The file cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Item:
    """One image before it is read. ``patient`` is None where the data does not say."""

    name: str
    label: int
    patient: str | None
    split: str


@dataclass(frozen=True)
class Source:
    """``read(i)`` gives item i as uint8 (H, W) or (H, W, 3), or raises ``UnreadableImage``; it must be safe to
    call from threads.

    ``how_read(i)`` then names the treatment of a file that is not plain 8-bit grey."""

    items: list[Item]
    read: Callable[[int], np.ndarray]
    how_read: Callable[[int], list[str]] = lambda index: []
    find_near_duplicates: bool = True
