"""Datasets as folders: DATA/<dataset>/{train,val,test}/<class>/<image>, or without splits."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from meddef.data.cards import SPLITS, Card
from meddef.data.decode import read_image
from meddef.data.source import Item, Source
from meddef.errors import InputError


def find_root(card: Card, data_dir: Path | None) -> Path:
    """The folder of a dataset under ``data_dir`` (default: ``MEDDEF_DATA_DIR``); ``InputError`` says how to get it."""
    base = find_data_dir(card, data_dir)
    if base is None:
        raise InputError(
            f"{card.name}: no data folder given (--data-dir or MEDDEF_DATA_DIR); {card.how_to_get}"
        )
    for folder in card.folders or (card.name,):
        if (found := _unpacked(base, folder)) is not None:
            return found
    if (base / "train").is_dir():
        raise InputError(
            f"{card.name}: {base} holds train/ itself; give its parent, which must hold {' or '.join(card.folders)}/"
        )
    raise InputError(f"{card.name}: no folder {' or '.join(card.folders)} in {base}; {card.how_to_get}")


def _unpacked(base: Path, folder: str) -> Path | None:
    """``folder`` below ``base`` as archives leave it: with a space behind its name (Kaggle's "OCT2017 "), or in a
    folder of the same name (chest_xray/chest_xray) where that holds no images itself."""
    named = sorted(
        (e for e in _visible(base) if e.name.strip() == folder and e.is_dir()), key=lambda e: len(e.name)
    )
    if not named:
        return None
    found = Path(named[0].path)
    inner = None if split_folders(found) else _unpacked(found, folder)
    return inner or found


def split_folders(root: Path) -> list[str]:
    """Those of train, val and test that are folders of ``root``."""
    return [split for split in SPLITS if (root / split).is_dir()]


def class_folders(root: Path) -> list[str]:
    """Names of the class folders below the splits of ``root``, or in ``root`` itself, sorted.

    ``InputError`` where there is none, and for folders beside those of splits.
    """
    splits = split_folders(root)
    beside = [entry.name for entry in _visible(root) if entry.is_dir() and entry.name not in splits]
    if splits and beside:
        raise InputError(
            f"{root} holds {', '.join(beside)} beside {', '.join(splits)}: rename it to one of {', '.join(SPLITS)}, "
            "or move it elsewhere"
        )
    folders = [entry for split in splits or [""] for entry in _visible(root / split) if entry.is_dir()]
    if not folders:
        raise InputError(
            f"{root} holds no class folders: it must hold train/CLASS/, val/CLASS/ and test/CLASS/, or CLASS/ alone; "
            "a --csv lists images that lie otherwise"
        )
    return sorted({entry.name for entry in folders})


def find_data_dir(card: Card, data_dir: Path | None) -> Path | None:
    """``data_dir``, or the folder that ``MEDDEF_DATA_DIR`` names, or None; ``InputError`` if it does not exist."""
    named = data_dir or os.environ.get("MEDDEF_DATA_DIR")
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(f"{card.name}: data folder {named} does not exist; {card.how_to_get}")
    return Path(named)


def list_items(card: Card, root: Path, needed: Collection[str] = ()) -> list[Item]:
    """Every file in the class folders, in the order split, class, name. Names are paths below ``root``.

    Without split folders, the class folders of ``root`` are one split, test. Hidden files (.DS_Store and the like) are
    left out. Raises ``InputError`` for a split of ``needed`` that is missing or empty, class folders that the card
    does not know, a class with no image at all, and folders within class folders.
    """
    present = split_folders(root)
    if missing := [split for split in needed if split not in (present or ["test"])]:
        drawn = "--split-policy paper or patient draws one from all images"
        raise InputError(f"{card.name}: no folder {missing[0]} in {root} ({drawn}); {card.how_to_get}")
    items: list[Item] = []
    for split in present or ["test"]:
        folder = root / split if present else root
        found = sorted(entry.name for entry in _visible(folder) if entry.is_dir())
        if unknown := sorted(set(found) - set(card.classes) - set(card.other_classes)):
            raise InputError(
                f"{card.name}: {folder} has class folders {', '.join(unknown)} that are none of "
                f"{', '.join(card.classes)}; rename or remove them"
            )
        before = len(items)
        for label, name in enumerate(card.classes):
            if name in found:
                items += [_item(card, root, entry, split, label) for entry in _visible(folder / name)]
        if len(items) == before and split in needed:
            raise InputError(f"{card.name}: split {split} in {root} has no images; {card.how_to_get}")
    labels = {item.label for item in items}
    if lacking := [name for label, name in enumerate(card.classes) if label not in labels]:
        raise InputError(f"{card.name}: no images of {', '.join(lacking)} in {root}; {card.how_to_get}")
    return items


def folder_source(card: Card, root: Path, items: list[Item], *, colour: bool = False) -> Source:
    """The files of ``items``, decoded on demand; with ``colour`` those that have any keep it."""
    said: dict[int, list[str]] = {index: [] for index in range(len(items))}
    return Source(
        items,
        lambda index: read_image(root / items[index].name, card.window, said[index], colour),
        said.__getitem__,
    )


def patient_of(card: Card, stem: str) -> str | None:
    """The patient in a file name without its ending, or None where the name does not follow the card's pattern."""
    match = re.fullmatch(card.patient_id, stem) if card.patient_id else None
    return next((group for group in match.groups() if group), None) if match else None


def _item(card: Card, root: Path, entry: os.DirEntry[str], split: str, label: int) -> Item:
    name = Path(entry.path).relative_to(root).as_posix()
    if entry.is_dir():
        held = sum(len(files) for _, _, files in os.walk(entry.path))
        raise InputError(
            f"{card.name}: {name} in {root} is a folder of {held:,} files within the folder of a class: "
            "move its images up, or remove it"
        )
    return Item(name, label, patient_of(card, Path(entry.name).stem), split)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name, without hidden files and what macOS adds to archives."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith((".", "__MACOSX"))), key=lambda e: e.name)
