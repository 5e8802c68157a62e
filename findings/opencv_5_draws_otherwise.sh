#!/usr/bin/env bash
# The same drawing calls give different pixels in OpenCV 5 and 4, while filters are unchanged.
#
# Expected: a new major release may round interpolation and filters otherwise; a letter drawn without smoothing is a letter.
# Observed: putText draws another letter (other strokes), and remap rounds its coordinates
#           otherwise. Resize (area, linear, cubic), CLAHE, median and non-local means are the same bit for bit.
# Version:  OpenCV 4.10.0.84 against 5.0.0.93 (opencv-python-headless, x86-64)
# Source:   seen with the picture below
# Affects:  users who draw or warp synthetic images, markers or overlays with an unpinned OpenCV: the dataset changes silently.
# Remedy:   pin OpenCV where it draws, or draw with numpy; keep the version with the data's fingerprint.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6
for release in 4.10.0.84 5.0.0.93; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$release" \
    "opencv-python-headless==$release"
  PYTHONPATH="$folder/$release" "$folder/venv/bin/python" - "$folder/$release.npz" <<'PYTHON'
import sys

import cv2
import numpy as np

rows, columns = np.mgrid[0:96, 0:128].astype(np.float32)
noise = np.random.default_rng(0).integers(-12, 12, (96, 128))
picture = (150 + 80 * np.sin(columns / 9) * np.cos(rows / 13) + noise).clip(0, 255).astype(np.uint8)
moved = (columns + 3 * np.sin(rows / 7)).astype(np.float32), (rows + 2 * np.cos(columns / 5)).astype(np.float32)
sizes = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
np.savez(
    sys.argv[1],
    putText=cv2.putText(picture.copy(), "R", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2),
    remap=cv2.remap(picture, *moved, cv2.INTER_LINEAR),
    CLAHE=cv2.createCLAHE(2.0, (8, 8)).apply(picture),
    median=cv2.medianBlur(picture, 5),
    nl_means=cv2.fastNlMeansDenoising(picture, None, 3, 5, 11),
    **{f"resize_{name}": cv2.resize(picture, (48, 36), interpolation=how) for name, how in sizes.items()},
)
print("OpenCV", cv2.__version__)
PYTHON
done
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np

old, new = (np.load(f"{sys.argv[1]}/{release}.npz") for release in ("4.10.0.84", "5.0.0.93"))
differ = {}
for name in old:
    gap = np.abs(old[name].astype(int) - new[name])
    differ[name] = bool(gap.any())
    print(f"{name:13} {100 * (gap > 0).mean():5.2f} % of the pixels differ, by up to {gap.max()} levels")
assert differ == {name: name in ("putText", "remap") for name in differ}, "the behaviour has changed"
PYTHON
