"""The letter R that marks the patient's right on a radiograph, from strokes: OpenCV's fonts differ between releases."""

from typing import Literal

import numpy as np

from meddef.data.phantom_fields import Array, pixel_centres, soft_step

Letter = Literal["drawn", "removed", "moved"]  # moved: to the other side of the image
HEIGHT, STROKE = 0.066, 0.011  # in image edges; a stroke is a pixel wide at least
LINES = (  # in heights of the letter, from its lower left corner upwards: start and end
    ((0.0, 0.0), (0.0, 1.0)),
    ((0.0, 1.0), (0.36, 1.0)),
    ((0.0, 0.5), (0.36, 0.5)),
    ((0.32, 0.5), (0.64, 0.0)),
)
WIDTH = 0.64  # in heights
BOW = (0.36, 0.75, 0.25)  # centre and radius of the half circle at its right


def letter_r(size: int, left: float, base: float) -> Array:
    """The letter R, (size, size) float32 in [0, 1], with its lower left corner at (left, base) in image edges."""
    x = pixel_centres(size)
    across, up = (x - left) / HEIGHT, (base - x) / HEIGHT
    columns, rows = (np.flatnonzero((place > -0.5) & (place < 1.5)) for place in (across, up))
    distance = HEIGHT * _to_stroke(across[columns], up[rows, None])
    image = np.zeros((size, size), np.float32)
    image[np.ix_(rows, columns)] = soft_step(0.5 * max(1.0 / size, STROKE) - distance, 1.0 / size)
    return image


def _to_stroke(across: Array, up: Array) -> Array:
    """Distance from the nearest stroke of the letter, in its heights; the arguments are broadcast."""
    x, y, radius = BOW
    from_bow = np.abs(np.sqrt((across - x) ** 2 + (up - y) ** 2) - radius)
    nearest = np.where(across < x, np.float32(np.inf), from_bow)
    for (x, y), (end, top) in LINES:
        run, rise = end - x, top - y
        share = ((across - x) * run + (up - y) * rise) / (run * run + rise * rise)
        share = np.clip(share, 0.0, 1.0)
        square = (across - x - run * share) ** 2 + (up - y - rise * share) ** 2
        nearest = np.minimum(nearest, np.sqrt(square))
    return nearest
