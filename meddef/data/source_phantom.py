"""The phantom datasets: drawn from a seed, every split from its own patients."""

from __future__ import annotations

import numpy as np

from meddef.data.cards import SPLITS
from meddef.data.phantom import Phantoms, draw_phantoms, patients_needed
from meddef.data.phantom_letter import Letter
from meddef.data.source import Item, Source
from meddef.errors import InputError

FAMILY = {"phantom_oct": "oct", "phantom_xray": "xray"}
SIZES = {"train": 400, "val": 100, "test": 200}


def check_sizes(sizes: dict[str, int] | None) -> dict[str, int]:
    """Images per split, in the order train, val, test; ``InputError`` for another split name or a size below 1."""
    if sizes is None:
        return SIZES
    if unknown := sorted(set(sizes) - set(SPLITS)):
        raise InputError(f"sizes: unknown split {', '.join(unknown)}; choose from {', '.join(SPLITS)}")
    for split, size in sizes.items():
        if size < 1:
            raise InputError(f"sizes: {split} must be at least 1, not {size}")
    return {split: sizes.get(split, SIZES[split]) for split in SPLITS}


def draw_phantom_split(
    dataset: str,
    split: str,
    *,
    image_size: int,
    seed: int = 0,
    sizes: dict[str, int] | None = None,
    healthy: bool = False,
    letter: Letter = "drawn",
) -> Phantoms:
    """The phantoms of one split as drawn, with their lesion masks: the same images, in the same order, as
    ``load_splits`` returns for val and test (in train it removes duplicates). ``healthy`` and ``letter``: see
    ``draw_phantoms``."""
    sizes = check_sizes(sizes)
    if dataset not in FAMILY:
        raise InputError(f"{dataset!r} is not a phantom dataset: choose from {', '.join(FAMILY)}")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    family = FAMILY[dataset]
    before = SPLITS[: SPLITS.index(split)]
    first = sum(patients_needed(family, sizes[earlier]) for earlier in before)
    return draw_phantoms(
        family,
        sizes[split],
        size=image_size,
        seed=seed,
        first_patient=first,
        healthy=healthy,
        letter=letter,
    )


def phantom_source(dataset: str, *, image_size: int, seed: int, sizes: dict[str, int]) -> Source:
    """All three splits; near duplicates are not searched for, because phantoms are similar by design."""
    drawn = {s: draw_phantom_split(dataset, s, image_size=image_size, seed=seed, sizes=sizes) for s in SPLITS}
    images = np.concatenate([drawn[split].images for split in SPLITS])
    items = [
        Item(f"{split}/{index:05d}", int(label), patient, split)
        for split in SPLITS
        for index, (label, patient) in enumerate(zip(drawn[split].labels, drawn[split].patients, strict=True))
    ]
    return Source(items, lambda index: images[index], find_near_duplicates=False)
