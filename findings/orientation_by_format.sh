#!/usr/bin/env bash
# Image orientation depends on format, library and flag: one image, four formats, two libraries.
#
# Expected: a library either applies the orientation tag (EXIF 274) or leaves it to the caller.
# Observed: Pillow turns a TIFF while loading it and leaves JPEG, PNG and WebP as they are stored. OpenCV turns all four with
#           IMREAD_GRAYSCALE and IMREAD_COLOR, and with IMREAD_UNCHANGED only the TIFF. So the same code gives another
#           picture after a conversion of the files, and two libraries agree on TIFFs only.
# Version:  Pillow 13.0.0, OpenCV 5.0.0.93
# Source:   seen with the drawing below; PIL.ImageOps.exif_transpose is the documented way to turn a picture
# Affects:  users who mix exports or readers: a classifier is trained and evaluated on different orientations.
# Remedy:   Pillow: ImageOps.exif_transpose after load. OpenCV: not IMREAD_UNCHANGED, or turn by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import cv2
import numpy as np
import PIL
from PIL import Image, ImageOps

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__)
rows, columns = np.mgrid[0:64, 0:96]
stored = (220 * np.exp(-(((columns - 30) / 25.0) ** 2) - ((rows - 20) / 15.0) ** 2)).astype(np.uint8)
upright = stored[::-1, ::-1]  # what orientation 3 says


def which(pixels):
    near = [name for name, other in (("as stored", stored), ("upright", upright))
            if np.abs(pixels.astype(int) - other).max() <= 8]  # JPEG is not exact
    return near[0]


found = {}
for suffix in ("jpg", "png", "webp", "tiff"):
    path, exif = f"{sys.argv[1]}/picture.{suffix}", Image.Exif()
    exif[274] = 3
    Image.fromarray(stored).save(path, exif=exif, **{"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {}))
    unchanged = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    with open(path, "rb") as file:
        image = Image.open(file)
        image.load()
        found[suffix] = {
            "Pillow": which(np.asarray(image.convert("L"))),
            "Pillow, exif_transpose": which(np.asarray(ImageOps.exif_transpose(image).convert("L"))),
            "OpenCV GRAYSCALE": which(cv2.imread(path, cv2.IMREAD_GRAYSCALE)),
            "OpenCV COLOR": which(cv2.imread(path, cv2.IMREAD_COLOR)[..., 0]),
            "OpenCV UNCHANGED": which(unchanged if unchanged.ndim == 2 else unchanged[..., 0]),
        }
for reader in found["jpg"]:
    print(f"{reader:24}" + "".join(f"{suffix}: {found[suffix][reader]:11}" for suffix in found))
for suffix, readers in found.items():
    turns = "upright" if suffix == "tiff" else "as stored"
    assert (readers["Pillow"], readers["OpenCV UNCHANGED"]) == (turns, turns), f"{suffix}: the behaviour has changed"
    assert readers["Pillow, exif_transpose"] == readers["OpenCV GRAYSCALE"] == readers["OpenCV COLOR"] == "upright", suffix
PYTHON
