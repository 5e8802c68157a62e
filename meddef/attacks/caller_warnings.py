"""Warnings that point at the line which called an attack, outside this folder."""

import sys
import warnings
from pathlib import Path

_HERE = Path(__file__).parent


def warn(message: str, category: type[Warning]) -> None:
    """``warnings.warn`` from the nearest caller outside ``meddef.attacks``."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and Path(frame.f_code.co_filename).parent == _HERE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
