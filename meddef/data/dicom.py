"""DICOM images (extra ``dicom``): one frame, rescaled, through its window, black on white turned round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meddef.data.depth import Window, through
from meddef.data.source import UnreadableImage

MAGIC = b"DICM"
"""At byte 128 of a file."""
KINDS = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422")


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == MAGIC


def read_dicom(path: Path, window: Window | None) -> tuple[np.ndarray, list[str]]:
    """Pixels, uint8 (H, W), or (H, W, 3) in colour, and how they were read, a kind a line.

    Stored values are rescaled to their units (modality LUT). ``window`` holds for those; without it the first window
    of the file, or its VOI LUT, is applied; without either, the range of the bits that are stored. MONOCHROME1, in
    which 0 is white, is inverted. Raises ``UnreadableImage``: several frames, text burned in, no pixels,
    pydicom not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise UnreadableImage("DICOM, which needs pip install 'meddef[dicom]'") from None
    try:
        data = pydicom.dcmread(path)
        _refuse(data)
        stored = data.pixel_array
    except (
        AttributeError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        KeyError,
        OSError,
        EOFError,
    ) as error:
        raise UnreadableImage(f"DICOM that pydicom cannot read: {' '.join(str(error).split())}") from None
    except pydicom.errors.InvalidDicomError as error:
        raise UnreadableImage(f"broken DICOM: {error}") from None
    if stored.ndim == 3:
        return through(stored.astype(np.float64), (0, 2**data.BitsStored - 1)), ["DICOM in colour"]
    values, low, high, said = _windowed(data, stored, window)
    grey = through(values, (low, high))
    if data.PhotometricInterpretation == "MONOCHROME1":
        return 255 - grey, [said, "DICOM MONOCHROME1, inverted: 0 is white in them"]
    return grey, [said]


def _refuse(data: Any) -> None:
    if (frames := int(data.get("NumberOfFrames") or 1)) > 1:
        raise UnreadableImage(f"DICOM of {frames} frames: export the one that is meant")
    if data.get("BurnedInAnnotation", "NO") == "YES":
        raise UnreadableImage("DICOM that says text is burned into its pixels")
    if "PixelData" not in data:
        raise UnreadableImage("DICOM without pixels")
    if (kind := data.PhotometricInterpretation) not in KINDS:
        raise UnreadableImage(f"DICOM of kind {kind}, which is not read")


def _windowed(data: Any, stored: np.ndarray, window: Window | None) -> tuple[np.ndarray, float, float, str]:
    """Values, those of them that become black and white, and how they were chosen."""
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, data).astype(np.float64)
    if window is not None:
        return values, *window, f"DICOM, rescaled and read through the window {window[0]:g} to {window[1]:g}"
    if data.get("VOILUTSequence"):
        shown, bits = _looked_up(data, values)
        return shown, 0, 2**bits - 1, "DICOM, rescaled and read through its VOI LUT"
    if data.get("WindowCenter") is None or data.get("WindowWidth") is None:
        lowest = -(2 ** (data.BitsStored - 1)) if data.PixelRepresentation else 0
        ends = np.array([lowest, lowest + 2**data.BitsStored - 1]).astype(stored.dtype)
        low, high = sorted(float(end) for end in apply_modality_lut(ends, data))
        return values, low, high, "DICOM without a window, scaled from the range of its stored bits"
    centre, width = (float(np.ravel(data[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    width = max(width, 1 + 1e-9)  # of 1, a threshold
    function = str(data.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return (
            1 / (1 + np.exp(-4 * (values - centre) / width)),
            0,
            1,
            "DICOM, rescaled and read through its window",
        )
    if function == "LINEAR":  # DICOM PS3.3 C.11.2.1.2.1
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    else:  # LINEAR_EXACT
        low, high = centre - width / 2, centre + width / 2
    return (
        values,
        low,
        high,
        "DICOM, rescaled and read through its window (the first, where there are several)",
    )


def _looked_up(data: Any, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values in the first VOI LUT, and its bits; pydicom 3.0 wraps indices above 255 where entries have 8 bits."""
    item = data.VOILUTSequence[0]
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count, first = count or 1 << 16, first - (1 << 16) * (first >= 1 << 15 and bool(data.PixelRepresentation))
    entries = item.LUTData
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, np.uint8 if len(entries) < 2 * count else "<u2")
    table = np.atleast_1d(np.asarray(entries, dtype=np.float64))[:count]
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)], bits
