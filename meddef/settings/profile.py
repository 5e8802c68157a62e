"""Profiles: the scale of a run, as strictly validated data. Unknown keys are refused."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from meddef.catalogue import VARIANTS, usual_training
from meddef.data.cards import Card, add_card
from meddef.data.preprocessing import Preprocessing
from meddef.errors import InputError
from meddef.image_size import Size, area, simplest
from meddef.settings.base import Positive, Settings
from meddef.settings.measures import (
    CurveSettings,
    DefenseSettings,
    GridSettings,
    ProbesSettings,
    SaliencySettings,
    TransferSettings,
    UniversalSettings,
)
from meddef.settings.training import PAPERS_METHOD, AdversarialSettings, Noise, TrainingSettings
from meddef.yaml_reader import as_input_error, read_yaml


class DatasetSettings(Settings):
    """The images, their split and preprocessing.

    A user's dataset brings its card, which is registered on loading. An absent card or channels are not written,
    so that existing records keep their keys.
    """

    name: str
    card: Card | None = None  # None: that of this name in meddef/data/cards.yaml
    split_policy: Literal["released", "paper", "patient"] = "paper"
    preprocessing: Preprocessing | None = None  # None: the steps the paper names for this dataset
    sizes: dict[str, int] | None = None  # phantoms only: images per split
    split_seed: int = 0
    channels: Literal[1, 3] | None = None  # 3 keeps colours, 1 is one of grey; None: grey as three equal ones

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """The card takes the name of the dataset."""
        if isinstance(given, dict) and isinstance(card := given.get("card"), dict):
            return given | {"card": card | {"name": given.get("name")}}
        return given

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.card is not None:
            add_card(self.card)
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: value
            for name, value in handler(self).items()
            if name not in ("card", "channels") or value is not None
        }


BUILT_IN = ("test", "data", "train", "saliency", "curve", "probe", "defense", "universal", "transfer")
"""Names that a grid cannot have: that of clean accuracy on the whole test split, and those of kinds of cells."""


class Profile(Settings):
    """Everything that decides what a run computes. ``name`` is that of a folder: letters, digits, ``_ . + -``."""

    name: str
    description: str
    image_size: int | list[int]  # side of a square, or height and width; at least 28 pixels
    datasets: list[DatasetSettings]
    variants: list[str]
    seeds: list[int] = [0]
    batch_size: Positive = 32  # images per attack batch
    threads: Positive = 1  # per process; part of the key, since float sums depend on it
    clean_variants: list[str] = [name for name in VARIANTS if usual_training(name) == "clean"]
    controls: list[str] = []  # variants with a control training, which the paper lacks
    rivals: dict[str, list[AdversarialSettings]] = {}  # variant: other methods that it is also trained with
    noisy: dict[str, list[Noise]] = {}  # variant: noise that it is also trained with, cleanly
    training: TrainingSettings
    clean_training: TrainingSettings | None = None  # None: ``training`` without its adversarial part
    grids: dict[str, GridSettings]
    saliency: SaliencySettings | None = None
    curve: CurveSettings | None = None
    defenses: DefenseSettings | None = None
    universal: UniversalSettings | None = None
    transfer: TransferSettings | None = None
    probes: ProbesSettings = ProbesSettings()

    @field_validator("image_size", mode="plain")
    @classmethod
    def _size(cls, given: Any) -> Size:
        pair = given if isinstance(given, list | tuple) else [given]
        if len(pair) not in (1, 2) or not all(type(side) is int for side in pair):
            raise ValueError("must be a side in pixels, or [height, width]")
        if min(pair) < 28:
            raise ValueError("Input should be greater than or equal to 28")
        return simplest((pair[0], pair[-1]))

    @field_validator("name")
    @classmethod
    def _of_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w .+-]*", name):
            raise ValueError(f"'{name}' cannot name a folder of records: use letters, digits and _ . + -")
        return name

    @field_validator("datasets")
    @classmethod
    def _told_apart(cls, datasets: list[DatasetSettings]) -> list[DatasetSettings]:
        """Records tell datasets by their names: one under two settings would be one in every table."""
        names = [dataset.name for dataset in datasets]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"'{twice[0]}' is named twice: write a profile for each of its settings")
        return datasets

    @field_validator("grids")
    @classmethod
    def _own_names(cls, grids: dict[str, GridSettings]) -> dict[str, GridSettings]:
        if taken := [name for name in grids if name in BUILT_IN]:
            raise ValueError(f"a grid cannot be called '{taken[0]}', which is built in: give it another name")
        return grids

    @field_validator("rivals")
    @classmethod
    def _no_twins(cls, rivals: dict[str, list[AdversarialSettings]]) -> dict[str, list[AdversarialSettings]]:
        for variant, rules in rivals.items():
            names = [rule.name for rule in rules]
            if PAPERS_METHOD in [rule.method for rule in rules] or len(set(names)) < len(names):
                raise ValueError(
                    f"{variant}: list each competing method once, without the paper's recipe; got {', '.join(names)}"
                )
        return rivals

    def features(self, dataset: str) -> int:
        """Pixels times channels of an image of ``dataset`` as a model gets it."""
        channels = next((each.channels for each in self.datasets if each.name == dataset), None)
        return (channels or 3) * area(self.image_size)

    def models(self) -> list[tuple[str, TrainingSettings]]:
        """Every variant with its training settings: the paper's, then controls, rivals and training with noise."""
        clean = self.clean_training or self.training.model_copy(update={"adversarial": None})
        cleanly = [(variant, variant in self.clean_variants) for variant in self.variants]
        cleanly += [(variant, variant not in self.clean_variants) for variant in self.controls]
        found = [(variant, clean if is_clean else self.training) for variant, is_clean in cleanly]
        found += [
            (variant, self.training.model_copy(update={"adversarial": rule}))
            for variant, rules in self.rivals.items()
            for rule in rules
        ]
        found += [
            (variant, clean.model_copy(update={"augmentation": [*clean.augmentation, name]}))
            for variant, names in self.noisy.items()
            for name in names
        ]
        return found


def profile_names() -> list[str]:
    """Names of the built-in profiles."""
    folder = resources.files("meddef.profiles")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_profile(name_or_path: str) -> Profile:
    """Load a built-in profile by name or one from a YAML file by path.

    Raises:
        InputError: no such profile, not YAML, an unknown key or a value out of range (all are named).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(
                f"profile file '{path}' does not exist: give a path to a YAML file or one of {profile_names()}"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"profile file '{path}' is no text in UTF-8: {error.reason}") from error
    elif name_or_path in profile_names():
        text = (resources.files("meddef.profiles") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        raise InputError(
            f"unknown profile '{name_or_path}': use one of {', '.join(profile_names())} or a .yaml file"
        )
    with as_input_error(f"profile '{name_or_path}'"):
        return Profile.model_validate(read_yaml(text, f"profile '{name_or_path}'"))
