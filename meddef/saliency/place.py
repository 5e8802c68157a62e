"""Location of saliency: in the lesion, in the border."""

from __future__ import annotations

import numpy as np

from meddef.image_size import Size, sides

BORDER = 0.1  # of the image's side: the frame in which "shortcuts" such as markers lie


def energy_in(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's total in ``mask`` (both (H, W)); the mask's area share is chance. NaN for a zero map."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float("nan")


def pointing_hit(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the map's maximum lies in ``mask`` (the pointing game, Zhang et al. 2016)."""
    return bool(mask.flat[int(heat.argmax())])


def border_mask(size: Size) -> np.ndarray:
    """The outer tenth of an image on every side, bool (H, W)."""
    height, width = sides(size)
    top, left = (max(1, round(BORDER * side)) for side in (height, width))
    mask = np.ones((height, width), dtype=bool)
    mask[top:-top, left:-left] = False
    return mask
