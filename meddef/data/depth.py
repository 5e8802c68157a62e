"""Header information of an image file: orientation, bit depth, whether 0 is white.

Detectors use 10 to 14 bits and files hold 16. A dataset keeps one scale only where the bit depth is known: from PNG's
sBIT, from a TIFF of 9 to 15 bits or with MaxSampleValue, from the maximum of a PGM, or from a window in the card.
Otherwise each image is stretched between its percentiles, which are robust to a marker or a hot pixel.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

PERCENTILES = (1, 99)
"""Grey values between which an image of unknown depth is stretched; what lies beyond becomes 0 or 255."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R 601), as Pillow's for 8 bits."""
_ORIENTATION, _BITS, _PHOTOMETRIC, _LARGEST, _PLANES = 274, 258, 262, 281, 284

Window = tuple[float, float]


class Facts(NamedTuple):
    """``turn``: EXIF orientation 1 to 8. ``bits``: that are used of a deep image, None where the file does not say.

    ``colours``: deep with several samples per pixel, of which Pillow keeps the top byte. ``negative``: 0 is white.
    ``png``: used bits belong at the top of the sample.
    """

    turn: int = 1
    deep: bool = False
    bits: int | None = None
    colours: bool = False
    negative: bool = False
    png: bool = False

    def words(self, window: Window | None) -> list[str]:
        """How such a file is read, where it is not plain 8-bit grey; one kind per line, for counting."""
        said = ["turned upright as their orientation tag says"] if self.turn != 1 else []
        if self.deep:
            if window:
                said.append(f"deeper than 8 bits, read through the window {window[0]:g} to {window[1]:g}")
            elif self.bits:
                said.append(f"deeper than 8 bits, of which {self.bits} are used according to the file")
            else:
                low, high = PERCENTILES
                said.append(
                    f"deeper than 8 bits of unknown depth: each stretched from percentile {low} to {high} "
                    "(--window, or a window in the card, gives all of them one scale)"
                )
        return [*said, "inverted, because 0 is white"] if self.negative else said


def look(image: Image.Image, path: Path) -> Facts:
    """The facts of a file that Pillow has opened and not loaded yet. ``ValueError`` for what no library here reads."""
    deep = image.mode.startswith("I") or image.mode == "F"
    bits, colours, negative = None, False, False
    if image.format == "PNG":
        depth, bits = _png_bits(path)
        colours = depth == 16 and not deep
    elif image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        stored = max(tags.get(_BITS, (1,)))
        colours = stored == 16 and not deep
        if colours and tags.get(_PLANES) == 2:  # Pillow and OpenCV give other pixels
            raise ValueError("16-bit colours in separate planes; store them with PlanarConfiguration 1")
        negative = tags.get(_PHOTOMETRIC) == 0 and deep  # Pillow inverts 8 bits itself
        bits = stored if 8 < stored < 16 else _rounded_up(tags.get(_LARGEST))
    elif image.format == "PPM" and deep and image.tile[0][0] != "raw":  # type: ignore[attr-defined]
        bits = 16  # Pillow scales from the maximum that the file names
    return Facts(_turn(image), deep or colours, bits, colours, negative, image.format == "PNG")


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """The image in the EXIF orientation ``turn``; values other than 2 to 8 leave it unchanged."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1) if turn in (3, 4, 7, 8) else slice(None)
    columns = slice(None, None, -1) if turn in (2, 3, 6, 7) else slice(None)
    return np.ascontiguousarray(pixels[rows, columns])


def deep_values(image: Image.Image, path: Path, facts: Facts, *, colour: bool = False) -> np.ndarray:
    """All bits of a deep image as float64: one channel (H, W), or with ``colour`` three of what has them, (H, W, 3).
    Transparent parts are over black. ``ValueError`` if OpenCV, which decodes deep colours, cannot."""
    if not facts.colours:
        return np.asarray(image).astype(np.float64)
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("16-bit colours that OpenCV does not read")
    rgb = pixels[..., 2::-1].astype(np.float64)
    values = rgb if colour else (rgb @ np.array(LUMA))[..., None]
    opaque = np.rint(values * (pixels[..., 3:] / 65535) if pixels.shape[2] == 4 else values)
    return opaque if colour else opaque[..., 0]


def to_grey(values: np.ndarray, facts: Facts, window: Window | None) -> np.ndarray:
    """Deep values, finite, as uint8 of their shape: from the window, else from the used bits, else from percentiles."""
    low, high = window or _range(values, facts)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    grey = through(values, (low, high))
    return 255 - grey if facts.negative else grey


def through(values: np.ndarray, window: Window) -> np.ndarray:
    """Finite values as uint8, those at the ends of ``window`` and beyond as 0 and 255."""
    low, high = window
    return np.rint((np.clip(values, low, high) - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def _range(values: np.ndarray, facts: Facts) -> Window:
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if facts.bits is None:
        return low, high
    largest = (1 << facts.bits) - 1
    if facts.png:  # the standard shifts the used bits to the top; many writers leave them at the bottom
        below = (1 << 16 - facts.bits) - 1
        if high > largest or not (values.astype(np.int64) & below > 1).any():
            largest = 65535
    return 0.0, float(largest)


def _png_bits(path: Path) -> tuple[int, int | None]:
    """Bit depth and, where a chunk sBIT gives it, the largest number of used bits of a PNG."""
    with path.open("rb") as file:
        head = file.read(33)
        depth = head[24]
        while len(frame := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", frame)
            if kind == b"sBIT":
                bits = max(file.read(length)[:3], default=0)
                return depth, bits if 8 < bits < depth else None
            if kind in (b"IDAT", b"PLTE", b"IEND"):
                break
            file.seek(length + 4, 1)
    return depth, None


def _rounded_up(largest: object) -> int | None:
    """10, 12 or 14 bits that hold the largest value of a TIFF; None where it is not given or takes all."""
    values = largest if isinstance(largest, tuple) else (largest,)
    numbers = [value for value in values if isinstance(value, int)]
    bits = max(numbers, default=0).bit_length()
    return bits + bits % 2 if 8 < bits < 15 else None


def _turn(image: Image.Image) -> int:
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error):
        return 1  # damaged metadata: viewers show the pixels as they are stored
    return turn if isinstance(turn, int) and 2 <= turn <= 8 else 1
