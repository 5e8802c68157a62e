"""Which phantoms the playground trains on and shows. Building the page needs no torch."""

from __future__ import annotations

import numpy as np

from meddef.data.phantom import FAMILIES, Phantoms, draw_phantoms, patients_needed

FAMILY = "oct"
SIZE = 64
SEED = 0
SPLITS = {"train": 1600, "val": 240, "test": 240}
"""Images per split; no patient is in two."""
SHOWN = 3
"""Images per class on the page: the first of the test split."""


def draw_split(name: str, count: int | None = None) -> Phantoms:
    """The images of "train", "val" or "test", or the first ``count`` of them."""
    before = list(SPLITS)[: list(SPLITS).index(name)]
    first = sum(patients_needed(FAMILY, SPLITS[split]) for split in before)
    return draw_phantoms(FAMILY, count or SPLITS[name], size=SIZE, seed=SEED, first_patient=first)


def shown() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 64, 64) uint8 and labels (N,) of the page, class by class: ``SHOWN`` patients each."""
    drawn = draw_split("test", 4 * len(FAMILIES[FAMILY]) * SHOWN)
    wanted = [index for label in range(len(drawn.classes)) for index in _one_a_patient(drawn, label)[:SHOWN]]
    return drawn.images[wanted], drawn.labels[wanted]


def _one_a_patient(drawn: Phantoms, label: int) -> list[int]:
    first = {drawn.patients[i]: int(i) for i in np.flatnonzero(drawn.labels == label)[::-1]}
    return sorted(first.values())
