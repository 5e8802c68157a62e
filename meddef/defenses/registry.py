"""The defences by name, with their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn

from meddef.defenses.base import Defended
from meddef.defenses.bit_depth import BitDepth
from meddef.defenses.jpeg import Jpeg
from meddef.defenses.pca import PcaFeatures
from meddef.defenses.smoothing import Smoothed
from meddef.errors import InputError

DEFENSES: dict[str, Callable[..., Defended]] = {
    "jpeg": Jpeg,
    "bit_depth": BitDepth,
    "pca": PcaFeatures,
    "smoothing": Smoothed,
}
"""Name -> class of the defence."""
SOURCES: dict[str, str] = {
    "jpeg": "Das et al. 2018, https://arxiv.org/abs/1802.06816",
    "bit_depth": "Xu et al. 2018, https://arxiv.org/abs/1704.01155",
    "pca": "after Vasan & Hammoudeh 2024, https://doi.org/10.1016/j.cobme.2024.100561",
    "smoothing": "Cohen et al. 2019, https://arxiv.org/abs/1902.02918",
}
_FITTED = ("images", "labels")  # training data of a defence


def settings_of(name: str) -> dict[str, Any]:
    """Name -> default of each setting of the defence ``name``.

    Raises:
        InputError: an unknown defence.
    """
    if name not in DEFENSES:
        raise InputError(f"unknown defence '{name}': use one of {', '.join(DEFENSES)}")
    parameters = signature(DEFENSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _FITTED}


def check_defense(name: str, given: Mapping[str, Any]) -> None:
    """Refuse an unknown defence and a setting that it does not take; the defence checks the range.

    Raises:
        InputError: one line.
    """
    known = settings_of(name)
    for setting in set(given) - set(known):
        raise InputError(f"defence '{name}' takes no setting '{setting}': it takes {', '.join(known)}")


def is_fitted(name: str) -> bool:
    """Whether the defence is fitted on training images."""
    return "images" in signature(DEFENSES[name]).parameters


def build_defense(
    name: str,
    classifier: nn.Module,
    settings: Mapping[str, Any] | None = None,
    *,
    training: tuple[Tensor, Tensor] | None = None,
) -> Defended:
    """The defence ``name`` around ``classifier``.

    Args:
        classifier: images (N, C, H, W) in [0, 1] to logits (N, K); used, not copied.
        settings: of the defence (``settings_of``).
        training: images (N, C, H, W) and labels (N,) for a defence that is fitted; ignored by others.

    Raises:
        InputError: unknown defence or setting, a value out of range, no training images for a fitted one.
    """
    check_defense(name, settings or {})
    fitted: dict[str, Any] = {}
    if is_fitted(name):
        if training is None:
            raise InputError(f"defence '{name}' is fitted on training images: give training=(images, labels)")
        fitted = dict(zip(_FITTED, training, strict=True))
    return DEFENSES[name](classifier, **fitted, **(settings or {}))
