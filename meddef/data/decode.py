"""Decode one image file to 8-bit grey or RGB, of any colour and depth, or report why it cannot be used."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from meddef.data.depth import Facts, Window, deep_values, look, to_grey, turned
from meddef.data.dicom import is_dicom, read_dicom
from meddef.data.source import UnreadableImage

SMALLEST = 8
"""Shortest side, in pixels, that still counts as an image."""


COLOUR = 16
"""Levels of 255 by which the channels of a pixel differ before a file counts as coloured."""
COLOUR_LOST = "in colour, turned to grey (--channels 3 keeps the colour)"


FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
"""Formats that are tried; Pillow's others are not images or start other programs."""


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silence Pillow's warnings on metadata and turn its warning about images above 89 megapixels into an error.

    Warning filters are per process: enter this once, in the main thread, around all decoding.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_image(
    path: Path, window: Window | None = None, said: list[str] | None = None, colour: bool = False
) -> np.ndarray:
    """The first frame of an image file as uint8 (H, W), upright as its orientation tag says.

    Colours become luma, or with ``colour`` stay: (H, W, 3), of what has any. Transparent parts are laid over black;
    CMYK goes through RGB; a white 0 is inverted. What is deeper than 8 bits is scaled from ``window`` if given, else
    from the bits that the file says are used, else from its own percentiles (``meddef.data.depth``). DICOM is read by
    ``meddef.data.dicom``. ``said`` gets a line for each of these that is not plain 8-bit grey. Raises
    ``UnreadableImage``.
    """
    if not path.is_file():
        raise UnreadableImage("not a file")
    if path.stat().st_size == 0:
        raise UnreadableImage("empty file")
    said = [] if said is None else said
    said.clear()
    try:
        if is_dicom(path):
            pixels, lines = read_dicom(path, window)
            coloured = pixels.ndim == 3 and has_colour(pixels)
            said += [*lines, *([COLOUR_LOST] if coloured and not colour else [])]
            return pixels if colour or pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
        # by name, Pillow 13 scrambles uncompressed TIFFs that lie on a side (findings/pillow_tiff_by_name.sh)
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            if min(image.size) < SMALLEST:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, smaller than {SMALLEST}")
            facts = look(image, path)
            said += facts.words(window)
            image.load()
            pixels, coloured = (
                _deep(image, path, facts, window, colour) if facts.deep else _shallow(image, colour)
            )
            said += [COLOUR_LOST] if coloured and not colour else []
            return (
                pixels if image.format == "TIFF" else turned(pixels, facts.turn)
            )  # Pillow turns TIFF itself
    except UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage("more than 89 megapixels") from None
    except PermissionError:
        raise UnreadableImage("no permission to read it") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise UnreadableImage(f"broken: {error}") from None


def has_colour(rgb: np.ndarray) -> bool:
    """Whether the channels of some pixel of an image (H, W, 3) on the scale of 8 bits differ by more than what JPEG
    does to grey."""
    return bool((rgb.max(axis=2).astype(np.float64) - rgb.min(axis=2)).max() > COLOUR)


def _shallow(image: Image.Image, colour: bool) -> tuple[np.ndarray, bool]:
    """Pixels of 8 bits at most, and whether they had colours."""
    if image.mode in ("RGBA", "LA", "PA", "P", "RGBa", "La"):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    grey = np.asarray(image.convert("L"))
    if image.mode in ("L", "1"):
        return grey, False
    rgb = np.asarray(image.convert("RGB"))
    return (rgb if colour else grey), has_colour(rgb)


def _deep(
    image: Image.Image, path: Path, facts: Facts, window: Window | None, colour: bool
) -> tuple[np.ndarray, bool]:
    values = deep_values(image, path, facts, colour=colour)
    if not np.isfinite(values).all():
        raise UnreadableImage("holds NaN or infinity")
    coloured = facts.colours and has_colour(deep_values(image, path, facts, colour=True) / 257)
    return to_grey(values, facts, window), coloured
