#!/usr/bin/env bash
# A radiograph of 12 bits through its own lookup table of 8-bit entries: pydicom folds the picture 16 times over.
#
# Expected: apply_voi(values, file) gives, for each stored value, the entry of the VOI LUT at that place; an index beyond the
#           table takes its last entry (DICOM PS3.3 C.11.2.1.1).
# Happens:  where entries have 8 bits, places are counted modulo 256: value 256 gets the entry of 0, 4095 that of 255. A table
#           from 12 bits to 8, dark to bright, gives almost black pictures of stripes. With 16-bit entries the same table is
#           right. Nothing is raised.
# Version:  pydicom 3.0.2
# Source:   seen with the table below
# Hurts:    whoever prepares X-rays of devices that bring a LUT instead of a window with apply_voi or apply_voi_lut.
# Remedy:   look values up in the table yourself (clip, subtract the first mapped value), or give the table as 16-bit entries.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi

print("pydicom", version("pydicom"))
stored = np.array([0, 100, 255, 256, 300, 1000, 2048, 4095], "uint16")
found, right = {}, {}
for bits in (8, 16):
    table = np.linspace(0, 2**bits - 1, 4096).round().astype("uint16")  # 12 bits, dark to bright
    lookup = Dataset()
    lookup.LUTDescriptor, lookup.LUTData = [4096, 0, bits], table.tolist()
    file = Dataset()
    file.PixelRepresentation, file.BitsAllocated, file.BitsStored = 0, 16, 12
    file.VOILUTSequence = [lookup]
    found[bits], right[bits] = apply_voi(stored, file).tolist(), table[stored].tolist()
    print(f"entries of {bits:2} bits: stored {stored.tolist()}")
    print(f"    the table says {right[bits]}")
    print(f"    apply_voi gave {found[bits]}")
assert found[16] == right[16]
assert found[8][:3] == right[8][:3]
assert found[8][3] == found[8][0] != right[8][3], "the behaviour has changed"
assert max(found[8]) < 20 < max(right[8]), "the behaviour has changed"
PYTHON
