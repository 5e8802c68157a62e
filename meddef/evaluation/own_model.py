"""A model that is not one of the paper's: built by a function the user names, filled from a safetensors file."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from torch import nn

from meddef.attacks.contract import check_logits
from meddef.data.splits import Splits
from meddef.error_source import in_a_line
from meddef.error_source import place as where
from meddef.errors import InputError


def build_own_model(place: str) -> nn.Module:
    """What the function at ``place`` ("module:factory", in the current folder or installed) returns without arguments.

    Raises:
        InputError: no such module or function, it needs arguments, or it does not return an ``nn.Module``.
    """
    name, _, attribute = place.partition(":")
    if not (attribute.isidentifier() and all(part.isidentifier() for part in name.split("."))):
        raise InputError(f"--model '{place}' is not of the form module:factory, such as my_models:small_net")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"--model: no module '{name}' in {here} or among the installed ones") from error
        raise InputError(f"--model: module '{name}' needs '{error.name}', which is not installed") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"--model: importing '{name}' raised {in_a_line(error)}{where(error)}") from error
    if not hasattr(module, attribute):
        raise InputError(f"--model: module '{name}' has no '{attribute}'")
    factory = getattr(module, attribute)
    if isinstance(factory, nn.Module) or not callable(factory):
        kind = type(factory).__name__
        raise InputError(f"--model: '{place}' is a {kind}: give a function that returns the model")
    try:
        signature(factory).bind()
    except TypeError as error:
        raise InputError(f"--model: '{place}' is called without arguments, but: {error}") from error
    try:
        model = factory()
    except Exception as error:
        raise InputError(f"--model: '{place}' raised {in_a_line(error)}{where(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"--model: '{place}' returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def check_classes(model: nn.Module, splits: Splits, device: str) -> None:
    """Refuse a model in evaluation mode that cannot take one image or has not one logit a class."""
    image, _ = next(part for part in (splits.test, splits.val, splits.train) if len(part)).batch(np.arange(1))
    try:
        with torch.no_grad():
            answer = model(image.to(device))
    except Exception as error:
        reason = f"{in_a_line(error)}{where(error)}"
        raise InputError(f"the model cannot take images of shape {tuple(image.shape)}: {reason}") from error
    classes = check_logits(answer, torch.zeros(1, dtype=torch.long)).shape[1]
    if classes != len(splits.classes):
        raise InputError(
            f"the model has {classes} classes, the data {len(splits.classes)}: {', '.join(splits.classes)}"
        )
