#!/usr/bin/env bash
# Pillow scrambles a rotated uncompressed TIFF that is opened by name.
#
# Expected: Image.open("scan.tiff") and Image.open(open("scan.tiff", "rb")) give the same picture, turned upright by the
#           orientation tag (Pillow turns a TIFF while it loads it).
# Observed: for a grey TIFF without compression whose tag says 5, 6, 7 or 8, opening by name gives an image of the
#           unrotated shape with scrambled rows and columns; opening the file object, or compressing the same TIFF, is
#           correct.
#           By name the pixels are mapped into memory with the width and height of the turned picture
#           (ImageFile.load, map_buffer(..., self.size)), and then turned. Nothing is raised.
# Version:  Pillow 13.0.0
# Source:   seen with the drawing below; the lines are in PIL/ImageFile.py and PIL/TiffImagePlugin.py (load_prepare)
# Affects:  users who train on TIFFs from a scanner or a camera: noise images with the correct file name, label and mean.
# Remedy:   with open(path, "rb") as file: Image.open(file).load()
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)
rows, columns = np.mgrid[0:60, 0:80]
upright = (200 * np.exp(-(((columns - 45) / 25.0) ** 2) - ((rows - 25) / 20.0) ** 2) + rows / 2).astype(np.uint8)
stored = {5: upright.T, 6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1)}
wrong = {}
for turn, pixels in stored.items():
    for compression in (None, "tiff_lzw"):
        path, exif = f"{sys.argv[1]}/scan.tiff", Image.Exif()
        exif[274] = turn
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, compression=compression)
        by_name = np.asarray(Image.open(path))
        with open(path, "rb") as file:
            by_object = np.asarray(Image.open(file))
        assert np.array_equal(by_object, upright)
        wrong[turn, compression] = not np.array_equal(by_name, upright)
        agree = np.corrcoef(by_name.ravel(), upright.ravel())[0, 1]
        print(f"orientation {turn}, compression {compression}: by name {by_name.shape}, correlation with the drawing "
              f"{agree:.2f}; file object {by_object.shape}, equal to the drawing")
assert wrong == {(turn, how): how is None for turn in stored for how in (None, "tiff_lzw")}, "the behaviour has changed"
PYTHON
