"""Code of the user's that a command line names as module:attribute."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from meddef.error_source import in_a_line
from meddef.error_source import place as where
from meddef.errors import InputError


def named(place: str, option: str, example: str) -> Any:
    """What stands at ``place`` ("module:attribute", in the current folder or installed).

    Args:
        place: as ``option`` gave it.
        example: what it might have been, for a refusal.

    Raises:
        InputError: no such module or attribute, or importing it fails.
    """
    name, _, attribute = place.partition(":")
    if not (attribute.isidentifier() and all(part.isidentifier() for part in name.split("."))):
        raise InputError(f"{option} '{place}' is not of the form {example}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"{option}: no module '{name}' in {here} or among the installed ones") from error
        raise InputError(f"{option}: module '{name}' needs '{error.name}', which is not installed") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{option}: importing '{name}' raised {in_a_line(error)}{where(error)}") from error
    if not hasattr(module, attribute):
        raise InputError(f"{option}: module '{name}' has no '{attribute}'")
    return getattr(module, attribute)


def own_attack(
    place: str, eps: float | None, settings: Mapping[str, Any], *, targeted: bool = False
) -> partial[Tensor]:
    """The user's attack with eps and ``settings`` bound: (model, images, labels, eps=..., ...) -> images.

    What it returns is looked at where it is used, by ``meddef.evaluation.evaluate``, as is any attack's.

    Raises:
        InputError: it is not there, is no function, or takes other settings.
    """
    attack = named(place, "--attack", "module:function, such as my_attacks:mine")
    if not callable(attack) or isinstance(attack, type):
        raise InputError(
            f"--attack: '{place}' is a {type(attack).__name__}: give a function that returns images"
        )
    bound = {**settings, **({} if eps is None else {"eps": eps}), **({"targeted": True} if targeted else {})}
    try:
        signature(attack).bind(None, None, None, **bound)
    except TypeError as error:
        named_so = "".join(f", {name}={value}" for name, value in bound.items())
        raise InputError(
            f"--attack: '{place}' is called as (model, images, labels{named_so}), from --eps and --set, but: {error}"
        ) from error
    return partial(attack, **bound)
