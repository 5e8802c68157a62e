"""Building blocks that both phantom families draw with, in coordinates that do not depend on the image size."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


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
    return np.exp(-0.5 * scaled * scaled)


def power(base: Array, exponent: float) -> Array:
    """`base` to a power, worked out in double precision and rounded once.

    NumPy's single-precision power depends on the processor in its last bit, which is a grey level of some pixels
    and therefore another data set.
    """
    return np.power(base.astype(np.float64), float(np.float32(exponent))).astype(np.float32)


def cloud(rng: np.random.Generator, cells: tuple[int, int], size: int) -> Array:
    """Smooth random field, mean 0 and deviation about 1: a (rows, columns) grid of normals, enlarged.

    The grid, hence the drawing, is the same at any `size`. Shape (size, size), float32.
    """
    grid = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def severity(rng: np.random.Generator) -> float:
    """How marked a lesion is, in (0, 1]; about one in seven is faint and easily missed."""
    return rng.uniform(0.3, 0.5) if rng.random() < 0.15 else rng.uniform(0.75, 1.0)


def wave(rng: np.random.Generator, knots: int, x: Array) -> Array:
    """Smooth random curve over [0, 1] through `knots` normal values; same shape as `x`."""
    values = rng.standard_normal(knots)
    smooth = np.convolve(np.pad(values, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return np.interp(x, np.linspace(0.0, 1.0, knots), smooth).astype(np.float32)
