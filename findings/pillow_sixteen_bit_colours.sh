#!/usr/bin/env bash
# 16-bit colours: Pillow keeps the top byte of each sample, or, for planar files, reads every byte as a pixel.
#
# Expected: an error, or at least one rule: grey of 16 bits comes back with 16 bits, so colour should too.
# Observed: a 16-bit PNG or TIFF in RGB, RGBA or grey with alpha becomes 8 bits by dropping the low byte without a warning: 12-bit
#           data has 16 levels left. A TIFF with its planes one after another (PlanarConfiguration 2, uncompressed,
#           little-endian) is read byte by byte: low and high bytes alternate as pixels, of the upper half of the picture.
#           OpenCV with IMREAD_UNCHANGED gives all 16 bits of the others, and of that one other pixels than stored.
# Version:  Pillow 13.0.0; OpenCV 5.0.0.93, tifffile 2026.3.3
# Source:   seen with the drawings below
# Affects:  users who read detector data that a converter wrote as colour.
# Remedy:   tifffile, which reads both; cv2.imread(path, cv2.IMREAD_UNCHANGED) where PlanarConfiguration is 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 numpy==2.4.6 opencv-python-headless==5.0.0.93 tifffile==2026.3.3
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__, "tifffile", tifffile.__version__)
ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)  # 12 bits, all values once
opaque = np.full_like(ramp, 65535)
colour, with_alpha = np.stack([ramp] * 3, 2), np.stack([ramp] * 3 + [opaque], 2)
folder = sys.argv[1]
tifffile.imwrite(f"{folder}/grey.tif", ramp, photometric="minisblack")
tifffile.imwrite(f"{folder}/rgb.tif", colour, photometric="rgb")
tifffile.imwrite(f"{folder}/rgb_planes.tif", np.stack([ramp] * 3), photometric="rgb", planarconfig="separate")
cv2.imwrite(f"{folder}/grey.png", ramp)
cv2.imwrite(f"{folder}/rgb.png", colour)
cv2.imwrite(f"{folder}/rgba.png", with_alpha)
bytewise = np.frombuffer(ramp.astype("<u2").tobytes(), np.uint8)[: ramp.size].reshape(ramp.shape)
kept = {}
for name in ("grey.png", "rgb.png", "rgba.png", "grey.tif", "rgb.tif", "rgb_planes.tif"):
    pixels = np.asarray(Image.open(f"{folder}/{name}"))
    first = pixels if pixels.ndim == 2 else pixels[..., 0]
    full = cv2.imread(f"{folder}/{name}", cv2.IMREAD_UNCHANGED)
    full = full if full.ndim == 2 else full[..., 0]
    right = np.array_equal(full, ramp)
    rules = {"all 16 bits": ramp, "the top byte": ramp >> 8, "every byte as a pixel": bytewise}
    kept[name] = next(rule for rule, expected in rules.items() if np.array_equal(first, expected))
    print(f"{name:15} Pillow: {first.dtype}, {len(np.unique(first)):4} levels of 4096, keeps {kept[name]}; "
          f"OpenCV: {full.dtype}, {'as stored' if right else 'other pixels than stored'}")
    assert right == (name != "rgb_planes.tif"), "the behaviour has changed"
assert np.array_equal(tifffile.imread(f"{folder}/rgb_planes.tif")[0], ramp)
assert list(kept.values()) == ["all 16 bits", "the top byte", "the top byte", "all 16 bits", "the top byte",
                               "every byte as a pixel"], "the behaviour has changed"
PYTHON
