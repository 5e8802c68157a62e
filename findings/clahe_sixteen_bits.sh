#!/usr/bin/env bash
# OpenCV's CLAHE on 16-bit images: the clip limit has no effect, and the result differs from 8 bits.
#
# Expected: the same picture stored in 16 bits gives the same equalised picture, more finely graded, and a higher clip limit
#           gives more contrast.
# Observed: the limit is a count per bin, clipLimit x pixels of a tile / bins, rounded down to at least 1. With 8 x 8 tiles of
#           a 224-pixel image and 65,536 bins it is 1 for every clipLimit up to 167: the usual 2, 4 and 40 give the same
#           pixels. What is clipped is shared out over all 65,536 levels, also those that 12-bit data never use: such
#           images come out with two thirds of the mean brightness.
# Version:  OpenCV 5.0.0.93 (opencv-python-headless); the same in 4.10.0.84
# Source:   seen with the drawing below; the two depths were said to differ in github.com/opencv/opencv/issues/5953
# Affects:  users who equalise X-rays or OCT at their full depth with a clip limit from a paper that used 8 bits.
# Remedy:   equalise in 8 bits, or set clipLimit by bins / pixels of a tile; kornia works on [0, 1] with 256 bins.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for opencv in 4.10.0.84 5.0.0.93; do
  python3 -m venv "$folder/$opencv"
  "$folder/$opencv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==$opencv "numpy==2.2.6"
  "$folder/$opencv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

print("OpenCV", cv2.__version__)
draw = np.random.default_rng(0)
soft = cv2.resize(draw.random((9, 9)).astype("float32"), (224, 224), interpolation=cv2.INTER_CUBIC).clip(0, 1)
picture = (soft * 0.5 + 0.2 + draw.normal(0, 0.01, soft.shape)).clip(0, 1)
stored = {
    "8 bits": ((picture * 255).round().astype("uint8"), 255),
    "16 bits": ((picture * 65535).round().astype("uint16"), 65535),
    "12 bits in 16": ((picture * 4095).round().astype("uint16"), 65535),
}
limits = (2, 4, 40, 167, 400)
equalised = {
    name: [cv2.createCLAHE(limit, (8, 8)).apply(image) / top for limit in limits] for name, (image, top) in stored.items()
}
same, gap, mean = {}, {}, {}
for name, images in equalised.items():
    same[name] = sum(np.array_equal(image, images[0]) for image in images)
    gap[name] = 255 * np.abs(images[0] - equalised["8 bits"][0]).mean()
    mean[name] = images[0].mean()
    print(
        f"{name:14} the same pixels as clipLimit {limits[0]}: {same[name]} of {len(limits)} limits {limits}; mean {mean[name]:.2f}; "
        f"mean distance from 8 bits {gap[name]:.1f} of 255 levels"
    )
assert same == {"8 bits": 1, "16 bits": 4, "12 bits in 16": 4}, "the behaviour has changed"
assert min(gap["16 bits"], gap["12 bits in 16"]) > 10, "the behaviour has changed"
assert mean["12 bits in 16"] < 0.75 * mean["8 bits"], "the behaviour has changed"
PYTHON
done
