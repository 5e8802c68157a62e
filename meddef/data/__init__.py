"""From images to splits: folders in the Kaggle layout, MedMNIST files and phantoms under one function.

``ImageSet``, ``Splits`` and ``load_splits`` need torch, which takes seconds to import; they are imported on
first use, so that cards and preprocessing settings stay cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddef.data.cards import CARDS, Card
from meddef.data.preprocessing import Preprocessing
from meddef.data.source_phantom import draw_phantom_split

if TYPE_CHECKING:
    from meddef.data.images import ImageSet
    from meddef.data.splits import Splits, load_splits

__all__ = ["CARDS", "Card", "ImageSet", "Preprocessing", "Splits", "draw_phantom_split", "load_splits"]


def __getattr__(name: str) -> Any:
    if name == "ImageSet":
        from meddef.data.images import ImageSet

        return ImageSet
    if name in ("Splits", "load_splits"):
        from meddef.data import splits

        return getattr(splits, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
