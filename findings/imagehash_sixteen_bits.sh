#!/usr/bin/env bash
# Perceptual hashes of 16-bit images: all X-rays look like one.
#
# Expected: a perceptual hash is of the picture, so that the same picture in 8 and in 16 bits has nearly the same hash, and
#           different pictures have different ones at either depth.
# Observed: imagehash turns images into 8 bits by Pillow's convert("L"), which cuts 16-bit values off at 255 instead of
#           scaling them. A 12-bit or 16-bit radiograph becomes its outline, white on black: twenty different ones that were
#           collimated alike have one hash, for all four hashes; but for average_hash it is not near that of the 8-bit copy. No warning.
# Version:  imagehash 4.3.2 with Pillow 13.0.0
# Source:   seen with the drawings below
# Affects:  users who look for duplicates, or for images shared by training and test sets, in files of full depth: everything
#           is a duplicate, or, among files of both depths, nothing is.
# Remedy:   scale to 8 bits first, with a window that is the same for all files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imagehash==4.3.2 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import imagehash
import numpy as np
from PIL import Image

print("imagehash", version("imagehash"), "Pillow", version("pillow"))


def radiograph(seed):
    """Values in [0, 1]: a black frame around a body of smooth greys, never darker than a tenth."""
    coarse = np.random.default_rng(seed).random((7, 7)).astype("float32")
    body = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)).clip(0, 1) * 0.8 + 0.1
    return np.pad(body, 16)


depths = {"8 bits": (255, "uint8"), "12 bits in 16": (4095, "uint16"), "16 bits": (65535, "uint16")}
for name in ("phash", "dhash", "average_hash", "whash"):
    hashes = {
        depth: [getattr(imagehash, name)(Image.fromarray((radiograph(n) * top).round().astype(kind))) for n in range(20)]
        for depth, (top, kind) in depths.items()
    }
    distinct = {depth: len({str(one) for one in found}) for depth, found in hashes.items()}
    apart = np.mean([one - other for one, other in zip(hashes["8 bits"], hashes["16 bits"])])
    told = ", ".join(f"{count} in {depth}" for depth, count in distinct.items())
    print(f"{name:12} distinct hashes of 20 pictures: {told}; 8 against 16 bits of one picture: {apart:.1f} of 64 bits differ")
    assert distinct["8 bits"] >= 18, name
    assert distinct["12 bits in 16"] == distinct["16 bits"] == 1, "the behaviour has changed"
PYTHON
