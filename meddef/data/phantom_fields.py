"""Building blocks that both phantom families draw with, in coordinates that do not depend on the image size.

A grey level of one pixel is another data set, and processors and releases of OpenCV and NumPy do not round alike in
single precision. So nothing is drawn by OpenCV, and what is not a sum, a product or a square root is worked out in
double precision and rounded once.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Streams(NamedTuple):
    """One random generator a cause, so that leaving out a cause (the lesion) leaves the rest as it was."""

    patient: np.random.Generator
    view: np.random.Generator
    lesion: np.random.Generator
    noise: np.random.Generator


def pixel_centres(size: int) -> Array:
    """Centres of `size` pixels along an edge of length one; shape (size,), float32, in (0, 1)."""
    return np.asarray((np.arange(size) + 0.5) / size, np.float32)


def soft_step(distance: Array, width: float) -> Array:
    """Ramp from 0 to 1 over `width`, centred where `distance` is zero: an edge without stair-steps."""
    return np.clip(distance * (1.0 / width) + 0.5, 0.0, 1.0)


def bump(distance: Array, width: float) -> Array:
    """Gaussian bell of height 1 and standard deviation `width`."""
    scaled = distance * (1.0 / width)
    return np.exp(-0.5 * scaled * scaled, dtype=np.float64).astype(np.float32)


def ripple(turns: Array) -> Array:
    """Cosine of an angle given in turns, within 0.00001: from sums and products, in an eighth of the time that np.cos
    takes in double precision."""
    quarter = (turns - np.rint(turns)) * (np.pi / 2.0)
    square = quarter * quarter
    cosine = 1.0 - square * (0.5 - square * (1.0 / 24.0 - square * (1.0 / 720.0)))
    half = 2.0 * cosine * cosine - 1.0
    return 2.0 * half * half - 1.0


def power(base: Array, exponent: float) -> Array:
    """`base` to a power."""
    return np.power(base.astype(np.float64), float(np.float32(exponent))).astype(np.float32)


def cloud(rng: np.random.Generator, cells: tuple[int, int], size: int) -> Array:
    """Smooth random field, mean 0 and deviation about 1: a (rows, columns) grid of normals, enlarged.

    The grid, hence the drawing, is the same at any `size`. Shape (size, size), float32.
    """
    grid = rng.standard_normal(cells, dtype=np.float32).astype(np.float64)
    down, across = _cubic(cells[0], size), _cubic(cells[1], size)
    return (down @ grid @ across.T).astype(np.float32)


@cache
def _cubic(cells: int, size: int) -> NDArray[np.float64]:
    """The weight of each of `cells` values in each of `size` pixels, (size, cells), by cubic convolution (Keys 1981,
    doi 10.1109/TASSP.1981.1163711) with a = -0.75; the values at the ends go on beyond them."""
    place = (np.arange(size) + 0.5) * (cells / size) - 0.5
    weights = np.zeros((size, cells))
    for step in range(-1, 3):
        value = np.floor(place) + step
        away = np.abs(place - value)
        near = (1.25 * away - 2.25) * away * away + 1.0
        far = -0.75 * (((away - 5.0) * away + 8.0) * away - 4.0)
        column = np.clip(value, 0, cells - 1).astype(np.intp)
        weights[np.arange(size), column] += np.where(away <= 1.0, near, far)
    return weights


def severity(rng: np.random.Generator) -> float:
    """How marked a lesion is, in (0, 1]; about one in seven is faint and easily missed."""
    return rng.uniform(0.3, 0.5) if rng.random() < 0.15 else rng.uniform(0.75, 1.0)


def wave(rng: np.random.Generator, knots: int, x: Array) -> Array:
    """Smooth random curve over [0, 1] through `knots` normal values; same shape as `x`."""
    values = rng.standard_normal(knots)
    smooth = np.convolve(np.pad(values, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return np.interp(x, np.linspace(0.0, 1.0, knots), smooth).astype(np.float32)
