"""DICOM from the scanner: 12 bits, in which 0 is white."""

import json
import subprocess
from pathlib import Path

import numpy as np
from my_models import grey_net
from my_pictures import CLASSES, picture
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from safetensors.torch import save_file


def save_dicom(pixels: np.ndarray, path: Path) -> None:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PhotometricInterpretation = "MONOCHROME1"
    file.WindowCenter, file.WindowWidth = 2048, 4096
    file.PixelData = (4095 - 16 * pixels.astype(np.uint16)).tobytes()
    file.save_as(path, enforce_file_format=True)


for label, name in enumerate(CLASSES):
    Path("scans", name).mkdir(parents=True)
    for number in range(4):
        save_dicom(picture(label, number), Path("scans", name, f"{number}.dcm"))
save_file(grey_net().state_dict(), "mine.safetensors")
command = "meddef evaluate --data scans --channels 1 --image-size 32 --model my_models:grey_net"
more = "-w mine.safetensors --attack clean -o out.json"
done = subprocess.run([*command.split(), *more.split()], check=True, stdout=subprocess.PIPE, text=True)
assert "MONOCHROME1" in done.stdout
assert json.loads(Path("out.json").read_text())["headline"]["clean_accuracy"] == 1.0
