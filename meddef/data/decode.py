"""Decode one image file to 8-bit grey, whatever its colours and depth, or say in a few words why not."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from meddef.data.depth import Facts, Window, deep_values, look, to_grey, turned

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


def read_grey(path: Path, window: Window | None = None, said: list[str] | None = None) -> np.ndarray:
    """The first frame of an image file as uint8 (H, W), upright as its orientation tag says.

    Colours become luma; transparent parts are laid over black; CMYK goes through RGB; a white 0 is inverted.
    What is deeper than 8 bits is scaled from ``window`` if given, else from the bits that the file says are used,
    else from its own percentiles (``meddef.data.depth``). ``said`` gets a line for each of these that is not plain
    8-bit grey. Raises ``UnreadableImage``.
    """
    if not path.is_file():
        raise UnreadableImage("not a file")
    if path.stat().st_size == 0:
        raise UnreadableImage("empty file")
    try:
        # by name, Pillow 13 scrambles uncompressed TIFFs that lie on a side (findings/pillow_tiff_by_name.sh)
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            if min(image.size) < SMALLEST:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, smaller than {SMALLEST}")
            facts = look(image, path)
            if said is not None:
                said[:] = facts.words(window)
            image.load()
            grey = _deep(image, path, facts, window) if facts.deep else _grey(image)
            return grey if image.format == "TIFF" else turned(grey, facts.turn)  # Pillow turns TIFF itself
    except UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage("more than 89 megapixels") from None
    except PermissionError:
        raise UnreadableImage("no permission to read it") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise UnreadableImage(f"broken: {error}") from None


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGBA", "LA", "PA", "P", "RGBa", "La"):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _deep(image: Image.Image, path: Path, facts: Facts, window: Window | None) -> np.ndarray:
    values = deep_values(image, path, facts)
    if not np.isfinite(values).all():
        raise UnreadableImage("holds NaN or infinity")
    return to_grey(values, facts, window)
