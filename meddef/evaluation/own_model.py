"""A user's own model: built by a named function, with weights from a safetensors file."""

from __future__ import annotations

from inspect import signature

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks.contract import check_logits
from meddef.data.splits import Splits
from meddef.error_source import in_a_line
from meddef.error_source import place as where
from meddef.errors import InputError
from meddef.evaluation.own_code import named
from meddef.models import Binary


def build_own_model(place: str, option: str = "--model") -> nn.Module:
    """The result of the function at ``place`` ("module:factory", in the current folder or installed), called without
    arguments; ``option`` gave it.

    Raises:
        InputError: no such module or function, it needs arguments, or it does not return an ``nn.Module``.
    """
    factory = named(place, option, "module:factory, such as my_models:small_net")
    if isinstance(factory, nn.Module) or not callable(factory):
        kind = type(factory).__name__
        raise InputError(f"{option}: '{place}' is a {kind}: give a function that returns the model")
    try:
        signature(factory).bind()
    except TypeError as error:
        raise InputError(f"{option}: '{place}' is called without arguments, but: {error}") from error
    try:
        model = factory()
    except Exception as error:
        raise InputError(f"{option}: '{place}' raised {in_a_line(error)}{where(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{option}: '{place}' returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def check_classes(model: nn.Module, splits: Splits, device: str) -> None:
    """Refuse a model in evaluation mode that cannot process a single image or lacks one logit per class."""
    classes = check_logits(_answer(model, splits, device), torch.zeros(1, dtype=torch.long)).shape[1]
    if classes != len(splits.classes):
        raise InputError(
            f"the model has {classes} classes, the data {len(splits.classes)}: {', '.join(splits.classes)}"
        )


def under_sigmoid(model: nn.Module, splits: Splits, device: str) -> dict[str, nn.Module]:
    """A model in evaluation mode whose logits are meant for a sigmoid, as models of two classes (see ``Binary``).

    Returns:
        One, called after the second class, of a model of one logit and data of two classes; else one a class, which
        asks for that class against the rest.

    Raises:
        InputError: it cannot take one image, or has neither one logit nor one a class.
    """
    answer = _answer(model, splits, device)
    names = list(splits.classes)
    shape = tuple(answer.shape) if isinstance(answer, Tensor) else ()
    if shape in ((1,), (1, 1)) and len(names) == 2:
        return {names[1]: Binary(model)}
    if shape == (1, len(names)):
        return {name: Binary(model, j, len(names)) for j, name in enumerate(names)}
    raise InputError(
        f"--activation sigmoid wants one logit (two classes) or one for each of {', '.join(names)}; the model returned "
        f"{shape or type(answer).__name__} for one image"
    )


def _answer(model: nn.Module, splits: Splits, device: str) -> object:
    """To one image."""
    image, _ = splits.test.batch(np.arange(1))
    try:
        with torch.no_grad():
            return model(image.to(device))
    except Exception as error:
        reason = f"{in_a_line(error)}{where(error)}"
        raise InputError(f"the model cannot take images of shape {tuple(image.shape)}: {reason}") from error
