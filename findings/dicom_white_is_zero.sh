#!/usr/bin/env bash
# One DICOM file, two readers: an image and its negative.
#
# Expected: stored values are returned as stored; converting MONOCHROME1 (0 is white) to MONOCHROME2 is a separate
#           step, like rescaling and windowing.
# Observed: SimpleITK (through GDCM) inverts MONOCHROME1 while reading, from the largest value that BitsStored allows;
#           pydicom's pixel_array does not, nor do apply_modality_lut and apply_voi_lut after it. Everything else agrees:
#           signed values, and a slope with its intercept once pydicom is asked for it; neither applies the file's window
#           by itself. So two pipelines agree on all files but those of some digital X-ray devices, which are negatives.
# Version:  pydicom 3.0.2, SimpleITK 2.5.7
# Source:   seen with the drawings below; DICOM PS3.3 C.7.6.3.1.2 defines MONOCHROME1
# Affects:  users who train with one reader and deploy with the other, or mix devices: the classifier sees negatives.
# Remedy:   check PhotometricInterpretation, and test the reader with a file of each kind.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 simpleitk==2.5.7 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

print("pydicom", version("pydicom"), "SimpleITK", version("SimpleITK"))
picture = np.linspace(0, 4095, 64 * 48).reshape(48, 64).astype(int)  # 12 bits, dark to bright


def write(name, pixels, *, signed=False, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = f"{sys.argv[1]}/{name}.dcm"
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = generate_uid(), generate_uid(), "DX"
    data.Rows, data.Columns, data.SamplesPerPixel, data.BitsAllocated = *pixels.shape, 1, 16
    data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, int(signed)
    data.PhotometricInterpretation = "MONOCHROME2"
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


files = {
    "MONOCHROME2": write("plain", picture),
    "MONOCHROME1": write("white_is_zero", 4095 - picture, PhotometricInterpretation="MONOCHROME1"),
    "signed": write("signed", picture - 2048, signed=True),
    "slope 0.5, intercept -100": write("rescaled", picture, RescaleSlope=0.5, RescaleIntercept=-100),
    "window 1000, width 500": write("window", picture, WindowCenter=1000, WindowWidth=500),
}
equal = {}
for kind, path in files.items():
    data = pydicom.dcmread(path)
    rescaled = apply_modality_lut(data.pixel_array, data)
    windowed = apply_voi_lut(rescaled, data)
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[0]
    print(f"{kind:26} first pixel: pydicom {data.pixel_array[0, 0]}, rescaled {rescaled[0, 0]:g}, windowed {windowed[0, 0]:g}; "
          f"SimpleITK {itk[0, 0]:g}; equal to pydicom's rescaled pixels: {np.array_equal(rescaled, itk)}")
    equal[kind] = np.array_equal(rescaled, itk)
    if kind == "MONOCHROME1":
        assert np.array_equal(itk, 4095 - data.pixel_array), "SimpleITK's picture is not the negative"
assert equal == {kind: kind != "MONOCHROME1" for kind in files}, "the behaviour has changed"
PYTHON
