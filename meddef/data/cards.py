"""One card per dataset: source, content, the paper's statements about it, and how to get it."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from meddef.data.preprocessing import Preprocessing
from meddef.errors import InputError
from meddef.yaml_reader import as_input_error, read_yaml

SPLITS = ("train", "val", "test")


class Card(BaseModel):
    """``published_counts`` is split -> class -> images in the release; ``mean`` and ``std`` are those the
    paper prints, of pixels in [0, 1]. ``folders`` are the names the data may have under the data folder.
    ``patient_id`` is a regular expression on the file name without its ending; its matched group is the
    patient (of a "csv", a column is). ``stands_for`` names the dataset that this one replaces where that cannot be
    had. ``window`` are the stored values that become black and white in files deeper than 8 bits, such as [0, 4095]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["folder", "csv", "medmnist", "phantom"]
    title: str
    modality: str
    source: str
    licence: str
    classes: tuple[str, ...]
    published_counts: dict[str, dict[str, int]] = {}
    mean: float | None = None
    std: float | None = None
    citation: str
    how_to_get: str
    stands_for: str | None = None
    folders: tuple[str, ...] = ()
    other_classes: tuple[str, ...] = ()
    patient_id: str | None = None
    window: tuple[float, float] | None = None
    preprocessing: Preprocessing

    @field_validator("patient_id")
    @classmethod
    def _names_a_patient(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and not re.compile(pattern).groups:
                raise ValueError("must hold the patient in brackets, such as (person[0-9]+)_.*")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern


@cache
def package_cards() -> dict[str, Card]:
    """Name -> card: those of ``cards.yaml``."""
    text = files("meddef.data").joinpath("cards.yaml").read_text(encoding="utf-8")
    cards = {}
    for name, fields in read_yaml(text, "cards.yaml").items():
        with as_input_error(f"card {name} in cards.yaml"):
            cards[name] = Card.model_validate({"name": name, **fields})
    return cards


CARDS: dict[str, Card] = dict(package_cards())
"""Name -> card, those of ``cards.yaml`` and of the profiles that this process has read."""


def add_card(card: Card) -> None:
    """Register a dataset whose card is in a profile; ``ValueError`` where the package has one of that name."""
    if card.name in package_cards():
        raise ValueError(f"the package has a card named '{card.name}': give the dataset another name")
    CARDS[card.name] = card


def find_card(dataset: str) -> Card:
    """The card of ``dataset``; ``InputError`` for an unknown name."""
    if dataset not in CARDS:
        raise InputError(f"unknown dataset {dataset!r}: choose from {', '.join(CARDS)}")
    return CARDS[dataset]
