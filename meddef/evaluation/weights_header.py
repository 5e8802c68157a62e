"""The header of a weights file: the model, its training and its images.

Weights evaluated on images other than those held out in training give meaningless numbers: training images among the
test images, or other pixels. The header is used, and contradictions to it are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from meddef import installation
from meddef.data import CARDS
from meddef.data.source_phantom import check_sizes
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.image_size import Size, simplest
from meddef.settings import DatasetSettings
from meddef.yaml_reader import faults_of

WORDS = {
    "dataset": "dataset",
    "image_size": "image size",
    "split_policy": "split policy",
    "split_seed": "seed of the split",
    "preprocessing": "preprocessing",
    "sizes": "images per split",
    "channels": "channels",
}
OTHER = "or judge on other images on purpose with --other-data"


def describe(splits: Splits, *, variant: str, seed: int, training: Mapping[str, Any]) -> dict[str, Any]:
    """The header of weights of ``variant`` that were trained on ``splits`` with ``seed`` and settings ``training``.

    It holds no path. JSON-able: variant, classes, seed, training, meddef (the version of the package), data (dataset,
    fingerprint and, where ``splits.origin`` says so, image_size, split_policy, split_seed, preprocessing, sizes, and
    channels where they are not three equal ones).
    """
    data: dict[str, Any] = {"dataset": splits.dataset, "fingerprint": splits.fingerprint}
    if (origin := splits.origin) is not None:
        data |= {name: getattr(origin, name) for name in WORDS if name != "dataset"}
        if origin.channels is None:
            del data["channels"]
    return {
        "variant": variant,
        "classes": list(splits.classes),
        "seed": seed,
        "training": dict(training),
        "meddef": installation.version(),
        "data": data,
    }


def data_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """The image part of a header; empty if absent."""
    data = header.get("data")
    return data if isinstance(data, dict) and data.get("dataset") in CARDS else {}


def settings_in(header: Mapping[str, Any], weights: Path) -> DatasetSettings | None:
    """The settings of the training images; None if the header lacks them.

    Raises:
        InputError: the header contains invalid settings.
    """
    data = data_of(header)
    if "split_policy" not in data:
        return None
    names = ("split_policy", "preprocessing", "sizes", "split_seed", "channels")
    given = {name: data[name] for name in names if name in data}
    try:
        return DatasetSettings(name=data["dataset"], **given)
    except ValidationError as error:
        raise InputError(f"{weights} has an invalid header ({faults_of(error)}): train it again") from error


def check_settings(
    header: Mapping[str, Any], weights: Path, chosen: DatasetSettings, image_size: Size
) -> None:
    """Refuse settings of images that are not those the weights were trained with.

    Raises:
        InputError: one line that names each difference with both values.
    """
    data = data_of(header)
    card = CARDS.get(chosen.name)
    if not data or card is None:
        return
    here: dict[str, Any] = {
        "dataset": chosen.name,
        "image_size": simplest(image_size),
        "split_policy": chosen.split_policy,
        "split_seed": chosen.split_seed,
        "preprocessing": (chosen.preprocessing or card.preprocessing).model_dump(),
        "sizes": chosen.sizes,
        "channels": chosen.channels,
    }
    drawn = card.kind == "phantom"
    if drawn:
        del here["split_policy"]  # phantoms are split as drawn
        here["sizes"] = check_sizes(chosen.sizes)
    elif chosen.split_policy == "released" == data.get("split_policy"):
        del here["split_seed"]
    if data["dataset"] != chosen.name:
        here = {"dataset": chosen.name}
    if "split_policy" in data:
        data = {"channels": None} | data
    told = [
        f"{WORDS[name]} {_short(name, data[name], value)} there, {_short(name, value, data[name])} here"
        for name, value in here.items()
        if name in data and data[name] != value
    ]
    if told:
        raise InputError(
            f"{weights} was trained with other images: {'; '.join(told)}: leave those options out, {OTHER}"
        )


def check_model(
    header: Mapping[str, Any], weights: Path, variant: str | None, classes: tuple[str, ...]
) -> None:
    """Refuse a variant other than the weights', and classes with other names or order."""
    known = header.get("variant")
    if variant is not None and known is not None and variant != known:
        raise InputError(f"{weights} holds the weights of {known}, not of {variant}: leave --variant out")
    names = header.get("classes")
    if names is not None and [str(name).casefold() for name in names] != [
        name.casefold() for name in classes
    ]:
        raise InputError(
            f"{weights} was trained to tell {', '.join(map(str, names))}, not {', '.join(classes)}: give its dataset"
        )


def check_images(header: Mapping[str, Any], weights: Path, splits: Splits) -> None:
    """Refuse images whose fingerprint is not that of the images the weights were trained with."""
    there = data_of(header).get("fingerprint")
    if there is not None and there != splits.fingerprint:
        raise InputError(
            f"{weights} was trained with other images of {data_of(header)['dataset']} (fingerprint {str(there)[:12]} "
            f"there, {splits.fingerprint[:12]} here), which may include test images: give the --data-dir it was "
            f"trained on, {OTHER}"
        )


def _short(name: str, value: Any, other: Any) -> str:
    """A value in words; of preprocessing only what differs."""
    if name == "preprocessing" and isinstance(value, dict) and isinstance(other, dict):
        steps = [f"{step}={setting}" for step, setting in sorted(value.items()) if other.get(step) != setting]
        return ", ".join(steps) or "as it is"
    return str(value)
