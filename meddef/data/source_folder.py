"""Datasets as folders: DATA/<dataset>/{train,val,test}/<class>/<image>."""

from __future__ import annotations

import os
import re
from pathlib import Path

from meddef.data.cards import SPLITS, Card
from meddef.data.decode import read_grey
from meddef.data.source import Item, Source
from meddef.errors import InputError


def find_root(card: Card, data_dir: Path | None) -> Path:
    """The folder of a dataset under ``data_dir`` (default: ``MEDDEF_DATA_DIR``); ``InputError`` says how to get it."""
    base = find_data_dir(card, data_dir)
    if base is None:
        raise InputError(
            f"{card.name}: no data folder given (--data-dir or MEDDEF_DATA_DIR); {card.how_to_get}"
        )
    for folder in card.folders:
        if (base / folder).is_dir():
            return base / folder
    if (base / "train").is_dir():
        raise InputError(
            f"{card.name}: {base} holds train/ itself; give its parent, which must hold {' or '.join(card.folders)}/"
        )
    raise InputError(f"{card.name}: no folder {' or '.join(card.folders)} in {base}; {card.how_to_get}")


def find_data_dir(card: Card, data_dir: Path | None) -> Path | None:
    """``data_dir``, or the folder that ``MEDDEF_DATA_DIR`` names, or None; ``InputError`` if it does not exist."""
    named = data_dir or os.environ.get("MEDDEF_DATA_DIR")
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(f"{card.name}: data folder {named} does not exist; {card.how_to_get}")
    return Path(named)


def list_items(card: Card, root: Path) -> list[Item]:
    """Every file in the class folders, in the order split, class, name. Names are paths below ``root``.

    Hidden files (.DS_Store and the like) are left out. Raises ``InputError`` for a missing split folder,
    class folders the card does not know, a class with no image at all, or an empty split.
    """
    items: list[Item] = []
    for split in SPLITS:
        if not (root / split).is_dir():
            raise InputError(f"{card.name}: no folder {split} in {root}; {card.how_to_get}")
        found = sorted(entry.name for entry in _visible(root / split) if entry.is_dir())
        if unknown := sorted(set(found) - set(card.classes) - set(card.other_classes)):
            raise InputError(
                f"{card.name}: {root / split} has class folders {', '.join(unknown)} that are none of "
                f"{', '.join(card.classes)}; rename or remove them"
            )
        before = len(items)
        for label, name in enumerate(card.classes):
            if name in found:
                items += [_item(card, entry, split, label, name) for entry in _visible(root / split / name)]
        if len(items) == before:
            raise InputError(f"{card.name}: split {split} in {root} has no images; {card.how_to_get}")
    present = {item.label for item in items}
    if missing := [name for label, name in enumerate(card.classes) if label not in present]:
        raise InputError(f"{card.name}: no images of {', '.join(missing)} in {root}; {card.how_to_get}")
    return items


def folder_source(card: Card, root: Path, items: list[Item]) -> Source:
    """The files of ``items``, decoded on demand."""
    said: dict[int, list[str]] = {index: [] for index in range(len(items))}
    return Source(
        items, lambda index: read_grey(root / items[index].name, card.window, said[index]), said.__getitem__
    )


def patient_of(card: Card, stem: str) -> str | None:
    """The patient in a file name without its ending, or None where the name does not follow the card's pattern."""
    match = re.fullmatch(card.patient_id, stem) if card.patient_id else None
    return next((group for group in match.groups() if group), None) if match else None


def _item(card: Card, entry: os.DirEntry[str], split: str, label: int, class_name: str) -> Item:
    return Item(f"{split}/{class_name}/{entry.name}", label, patient_of(card, Path(entry.name).stem), split)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
