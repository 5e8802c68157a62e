"""The share of the largest class among images that stay correct under an attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from meddef.records import Record

WHY = "a model that predicts only this class is correct on those under any attack"


@dataclass(frozen=True)
class Survivors:
    """Images correct under an attack: their number, how many show the largest class, its name, and its share of all
    images in [0, 1]."""

    right: int
    largest: int
    name: str
    share: float


def survivors(records: Iterable[Record]) -> Survivors:
    """Of attack records of one model, seeds together."""
    records = list(records)
    pairs = [pair for record in records for pair in zip(record["labels"], record["after"], strict=True)]
    right = [label for label, after in pairs if label == after]
    largest, count = Counter(label for label, _ in pairs).most_common(1)[0]
    name = records[0]["classes"][int(largest)]
    return Survivors(len(right), right.count(largest), name, count / len(pairs))
