"""Warnings that point at the line outside this package which led to them."""

import contextlib
import sys
import warnings
from pathlib import Path

_INSIDE = (str(Path(__file__).parent), contextlib.__file__)


def warn(message: str, category: type[Warning]) -> None:
    """``warnings.warn`` from the nearest caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
