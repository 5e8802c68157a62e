"""Where the heat of a map lies: in the lesion, in the border."""

from __future__ import annotations

import numpy as np

BORDER = 0.1  # of the image's side: the frame in which "shortcuts" such as markers lie


def energy_in(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's total in ``mask`` (both (H, W)); the mask's area share would be chance. NaN: no heat."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float("nan")


def pointing_hit(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the map's maximum lies in ``mask`` (the pointing game, Zhang et al. 2016)."""
    return bool(mask.flat[int(heat.argmax())])


def border_mask(size: int) -> np.ndarray:
    """The outer tenth of a square image on every side, bool (size, size)."""
    width = max(1, round(BORDER * size))
    mask = np.ones((size, size), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask
