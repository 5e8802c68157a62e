"""A dataset of one's own from a folder or a CSV file: its card, made from what lies there, and where that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meddef.data.cards import SPLITS, Card, add_card, package_cards
from meddef.data.preprocessing import Preprocessing
from meddef.data.source_csv import labels_in, read_table
from meddef.data.source_folder import class_folders, split_folders
from meddef.errors import InputError


@dataclass(frozen=True)
class OwnImages:
    """``card`` is known to the process; ``data_dir`` is what ``load_splits`` needs beside its name; ``splits`` are
    those that the images lie in; ``patients``: whether those are known."""

    card: Card
    data_dir: Path
    splits: tuple[str, ...]
    patients: bool

    @property
    def training_policy(self) -> str:
        """How images are split to train on them: as they lie where all three splits are there, else drawn."""
        if set(self.splits) == set(SPLITS):
            return "released"
        return "patient" if self.patients else "paper"


def own_images(
    place: Path, *, classes: Sequence[str] | None = None, window: tuple[float, float] | None = None
) -> OwnImages:
    """The images in a folder, {train,val,test}/CLASS/... or CLASS/..., or in a CSV file.

    Args:
        place: the folder or file; it must exist.
        classes: in the order of the model's logits; None is that of their names, of numbers that of the numbers.
        window: stored values that become black and white in files deeper than 8 bits.

    Raises:
        InputError: no class folders, fewer than two classes, folders beside train, val and test.
    """
    place = place if place.name not in ("", "..") else place.resolve()
    if place.is_dir():
        found, splits, patients = tuple(class_folders(place)), tuple(split_folders(place)), False
    elif place.is_file():
        table = read_table(place)
        found, patients = labels_in(table), "patient" in table
        splits = tuple(split for split in SPLITS if "split" in table and split in set(table["split"]))
    else:
        raise InputError(f"{place} does not exist")
    chosen = tuple(classes or found)
    if len(chosen) < 2:
        raise InputError(f"{place} holds {', '.join(chosen) or 'no class'}: a classifier needs two classes")
    if window is not None and not window[0] < window[1]:
        raise InputError(f"--window {window[0]:g} {window[1]:g}: the first must be lower than the second")
    kind, name = ("folder", place.name) if place.is_dir() else ("csv", place.stem)
    name = re.sub(r"[^\w.-]+", "_", name)
    card = Card.model_validate(
        {
            "name": f"own_{name}" if name in package_cards() else name,
            "kind": kind,
            "title": place.name,
            **dict.fromkeys(("modality", "source", "licence", "citation"), "not stated"),
            "how_to_get": "give --data or --csv anew",
            "classes": chosen,
            "folders": (place.name,),
            "window": window,
            "preprocessing": Preprocessing(min_max=False),
        }
    )
    add_card(card)
    return OwnImages(card, place.parent, splits, patients)
