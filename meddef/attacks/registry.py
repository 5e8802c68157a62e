"""The attacks by name, with the defaults of ``meddef.catalogue``."""

from functools import partial
from importlib import import_module

from torch import Tensor

from meddef import catalogue


def _bound(row: catalogue.Attack) -> partial[Tensor]:
    function = getattr(import_module(f"meddef.attacks.{row.module or row.name}"), row.name)
    return partial(function, **({} if row.eps is None else {"eps": row.eps}), **row.defaults)


ATTACKS: dict[str, partial[Tensor]] = {name: _bound(row) for name, row in catalogue.ATTACKS.items()}
"""Name -> attack with its default settings bound; called with (model, images, labels) and settings of your own."""
SOURCES: dict[str, str] = {name: row.source for name, row in catalogue.ATTACKS.items()}
