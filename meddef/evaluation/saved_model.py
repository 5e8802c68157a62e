"""A model from its weights alone: the header says what it is of, or the caller does; no images are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from meddef.data.preprocessing import Preprocessing
from meddef.errors import InputError
from meddef.evaluation.own_model import build_own_model
from meddef.evaluation.single import check_weights
from meddef.image_size import Size, sides, simplest
from meddef.models import build_model
from meddef.training import load_weights
from meddef.training.checkpoint import read_header
from meddef.yaml_reader import as_input_error

HEADS = ("head.weight", "fc.weight")


@dataclass(frozen=True)
class SavedModel:
    """A model in evaluation mode on the CPU, with its name, and what is known of its classes and images."""

    net: nn.Module
    name: str
    classes: tuple[str, ...]  # empty: the weights do not say
    channels: int
    image_size: Size
    header: dict[str, Any]
    colour: bool  # whether colours of a picture are kept
    preprocessing: Preprocessing  # of a picture, as the weights' images had it

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image, (C, H, W)."""
        return self.channels, *sides(self.image_size)


def saved_model(
    weights: Path,
    *,
    variant: str | None = None,
    model: str | None = None,
    image_size: Size | None = None,
    channels: int | None = None,
) -> SavedModel:
    """The model of a weights file.

    Args:
        variant: of the paper's models the one that the weights belong to; None: the header's.
        model: instead of it the place of the user's own, "module:factory".
        image_size, channels: of its images; None: the header's.

    Raises:
        InputError: no weights, or of another model; neither header nor caller says what they are of, or the size.
    """
    check_weights(weights)
    header = read_header(weights)
    said = header.get("data")
    data: dict[str, Any] = said if isinstance(said, dict) else {}
    known = header.get("variant")
    size = data.get("image_size") if image_size is None else image_size
    if size is None:
        raise InputError(f"{weights} does not say at which size it was trained: give --image-size")
    given = channels or data.get("channels") or 3
    colour = given == 3 and bool(channels or data.get("channels") or not data)
    if model is not None and variant is not None:
        raise InputError("give either --variant (a model of the paper) or --model (one of your own)")
    if model is not None:
        net = build_own_model(model)
    elif ":" in str(known) and variant is None:  # code that a file names is not run
        raise InputError(f"{weights} holds the weights of {known}: give --model {known}")
    elif variant is None and known is None:
        raise InputError(f"{weights} does not say of which model it is: give --variant or --model")
    elif variant is not None and known not in (None, variant):
        raise InputError(f"{weights} holds the weights of {known}, not of {variant}: leave --variant out")
    else:
        net = _variant(str(variant or known), weights, given)
    load_weights(weights, net)
    names = header.get("classes")
    classes = tuple(map(str, names)) if isinstance(names, list) else ()
    name = str(model or variant or known)
    steps = data.get("preprocessing") or {"min_max": False}
    with as_input_error(f"{weights}, preprocessing"):
        preprocessing = Preprocessing.model_validate(steps)
    return SavedModel(net.eval(), name, classes, given, simplest(size), header, colour, preprocessing)


def _variant(name: str, weights: Path, channels: int) -> nn.Module:
    """The paper's model with as many classes as the weights have, and their standardisation's shape."""
    with safe_open(weights, framework="pt") as file:
        head = next((key for key in file.keys() if key.endswith(HEADS)), None)  # noqa: SIM118  (no dict)
        if head is None or not {"mean", "std"} <= set(file.keys()):
            raise InputError(f"{weights} holds the weights of another model than {name}: give --model")
        count, mean, std = (
            file.get_slice(head).get_shape()[0],
            file.get_tensor("mean"),
            file.get_tensor("std"),
        )
    return build_model(
        name, count, mean=mean.flatten().tolist(), std=std.flatten().tolist(), channels=channels
    )
