"""Images that a CSV file lists: columns path and label, and where they are known patient and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from meddef.data.cards import SPLITS, Card
from meddef.data.source import Item
from meddef.data.source_folder import find_data_dir
from meddef.errors import InputError

NEEDED = ("path", "label")
NAMES = {"valid": "val", "validation": "val"}
"""Other names of splits."""


def read_table(path: Path) -> pd.DataFrame:
    """The columns path, label, patient and split of a CSV file as text; those that it lacks are not there.

    ``InputError`` for another file, a missing column, an empty or repeated path, an empty label, another split.
    """
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path} is not a readable CSV file ({' '.join(str(error).split())})") from None
    table.columns = [name.strip().lower() for name in table.columns]
    if lacking := [name for name in NEEDED if name not in table.columns]:
        raise InputError(
            f"{path} has no column {' or '.join(lacking)}: it must have path and label, may have patient and split; "
            f"it has {', '.join(table.columns)}"
        )
    table = table[[name for name in (*NEEDED, "patient", "split") if name in table.columns]]
    table = table.apply(lambda column: column.str.strip())
    for name in NEEDED:
        if len(empty := table.index[table[name] == ""]):
            raise InputError(f"{path}: line {empty[0] + 2} has no {name}")
    if len(twice := table.index[table["path"].duplicated()]):
        raise InputError(f"{path}: line {twice[0] + 2} lists {table['path'][twice[0]]} again")
    if "split" in table:
        table["split"] = table["split"].str.lower().replace(NAMES)
        if len(wrong := table.index[~table["split"].isin(SPLITS)]):
            found = table["split"][wrong[0]]
            raise InputError(f"{path}: line {wrong[0] + 2} has split '{found}', not {', '.join(SPLITS)}")
    return table


def labels_in(table: pd.DataFrame) -> tuple[str, ...]:
    """The labels in order: numbers as numbers, else by name; ``InputError`` for one label written in two ways."""
    found = Counter(table["label"])
    alike: dict[str, str] = {}
    for label in found:
        if (other := alike.setdefault(_plain(label), label)) != label:
            raise InputError(
                f"labels '{other}' and '{label}' look like one class written in two ways: make them equal, or distinct"
            )
    numbers = all(label.isdecimal() for label in found)
    return tuple(sorted(found, key=int if numbers else str))


def _plain(label: str) -> str:
    """What two spellings of one class have in common: 1 and 1.0, Normal and NORMAL."""
    try:
        return repr(float(label))
    except ValueError:
        return label.casefold()


def find_csv(card: Card, data_dir: Path | None) -> Path:
    """The file of ``card`` in the data folder."""
    base = find_data_dir(card, data_dir)
    path = (base or Path()) / (card.folders or (f"{card.name}.csv",))[0]
    if not path.is_file():
        raise InputError(f"{card.name}: no file {path}; {card.how_to_get}")
    return path


def list_rows(card: Card, path: Path, needed: Collection[str] = ()) -> list[Item]:
    """The rows in their order, as items whose names are the paths; without a column split all are of test.

    ``InputError`` for a label that the card does not know, a class without image, or no image of a ``needed`` split.
    """
    table = read_table(path)
    if unknown := sorted(set(table["label"]) - set(card.classes)):
        raise InputError(f"{path} has labels {', '.join(unknown)} that are none of {', '.join(card.classes)}")
    if lacking := [name for name in card.classes if name not in set(table["label"])]:
        raise InputError(f"{path} lists no images of {', '.join(lacking)}")
    number = {name: label for label, name in enumerate(card.classes)}
    splits = table["split"] if "split" in table else ["test"] * len(table)
    patients = table["patient"] if "patient" in table else [""] * len(table)
    if missing := [split for split in needed if split not in set(splits)]:
        raise InputError(
            f"{path} lists no images of split {missing[0]}: --split-policy paper or patient draws one from all images"
        )
    return [
        Item(name, number[label], patient or None, split)
        for name, label, patient, split in zip(table["path"], table["label"], patients, splits, strict=True)
    ]
