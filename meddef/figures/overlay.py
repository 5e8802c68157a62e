"""Saliency over one's own pictures, before and after an attack, and what the attack did, magnified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled

PANEL = 2.0  # inches
GREY = 0.5  # of a pixel that the attack leaves alone


@dataclass(frozen=True)
class Picture:
    """One row: a picture (H, W) or (H, W, 3) in [0, 1], its map (H, W) in [0, 1], and what the model says of it; of an
    attack the same afterwards."""

    name: str
    image: np.ndarray
    heat: np.ndarray
    said: str
    attacked: np.ndarray | None = None
    attacked_heat: np.ndarray | None = None
    attacked_said: str = ""


@styled
def saliency_overlay(pictures: Sequence[Picture], title: str) -> SvgFigure:
    """One row per picture: itself, and under its map; of an attack also what was added, and the map afterwards."""
    attacked = pictures[0].attacked is not None
    figure, axes = style.grid(len(pictures), 4 if attacked else 2, width=PANEL, height=PANEL + 0.25)
    for row, picture in zip(axes, pictures, strict=True):
        _show(row[0], picture.image, picture.name)
        _show(row[1], under(picture.image, picture.heat), picture.said)
        if picture.attacked is not None and picture.attacked_heat is not None:
            shown, factor = magnified(picture.attacked - picture.image)
            _show(row[2], shown, f"perturbation × {factor:.3g}")
            _show(row[3], under(picture.attacked, picture.attacked_heat), picture.attacked_said)
    figure.suptitle(title, fontsize=9)
    return figure


def under(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture in [0, 1] under a map, with opacity by saliency: (H, W, 3) in [0, 1]."""
    height, width = image.shape[:2]
    smooth = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    opacity = (0.15 + 0.5 * smooth)[..., None]
    below = image[..., None] if image.ndim == 2 else image
    return (1 - opacity) * below + opacity * colormaps["inferno"](smooth)[..., :3]


def magnified(change: np.ndarray) -> tuple[np.ndarray, float]:
    """A perturbation around grey, in [0, 1], and the factor that makes its largest value black or white; of none 1."""
    largest = float(np.abs(change).max())
    factor = GREY / largest if largest > 0 else 1.0
    return np.clip(GREY + factor * change, 0, 1), factor


def _show(panel: Axes, image: np.ndarray, title: str) -> None:
    panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
    panel.set_title(title, fontsize=8)
    panel.set_axis_off()
