"""Decode one image file to 8-bit grey, whatever its colours and depth, or say in a few words why not."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SMALLEST = 8
"""Shortest side, in pixels, that still counts as an image."""


class UnreadableImage(Exception):
    """The file cannot be used; the message is the reason, without the file's name."""


FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
"""Formats that are tried; others of Pillow's are not pictures or start other programs."""


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silence Pillow's remarks on odd metadata and turn its warning about images above 89 megapixels into an error.

    Warning filters are per process: enter this once, in the main thread, around all decoding.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_grey(path: Path) -> np.ndarray:
    """The first frame of an image file as uint8 (H, W).

    Colours become luma; transparent parts are laid over black; CMYK goes through RGB; deeper than 8 bits is
    stretched from its own minimum and maximum to 0..255, because detectors use 10 to 14 of 16 bits.
    Raises ``UnreadableImage``.
    """
    if not path.is_file():
        raise UnreadableImage("not a file")
    if path.stat().st_size == 0:
        raise UnreadableImage("empty file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if min(image.size) < SMALLEST:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, smaller than {SMALLEST}")
            image.load()
            return _grey(image)
    except UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage("more than 89 megapixels") from None
    except PermissionError:
        raise UnreadableImage("no permission to read it") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise UnreadableImage(f"broken: {error}") from None


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return _stretch(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "P", "RGBa", "La"):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _stretch(values: np.ndarray) -> np.ndarray:
    deep = values.astype(np.float64)
    if not np.isfinite(deep).all():
        raise UnreadableImage("holds NaN or infinity")
    low, high = deep.min(), deep.max()
    return np.rint((deep - low) * (255 / max(high - low, 1))).astype(np.uint8)
