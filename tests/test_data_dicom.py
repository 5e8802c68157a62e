"""DICOM: grey values computed by hand from the standard's formulas, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meddef.data.decode import COLOUR_LOST, UnreadableImage, read_image

pydicom = pytest.importorskip("pydicom")
VALUES = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)


def write(path: Path, pixels: np.ndarray = VALUES, **tags: object) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Rows, data.Columns = pixels.shape[-2:] if pixels.ndim == 2 else pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored = 12 if pixels.itemsize == 2 else 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PhotometricInterpretation = "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path) -> None:
    got = read_image(write(tmp_path / "a.dcm"), said=(said := []))
    np.testing.assert_array_equal(got, np.rint(VALUES / 4095 * 255))
    assert said == ["DICOM without a window, scaled from the range of its stored bits"]


def test_rescale_then_window(tmp_path: Path) -> None:
    """CT: Hounsfield units are the value - 1024; centre 40, width 400: black at -160 (39.5 - 199.5), white at 239."""
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    path = write(tmp_path / "ct.dcm", **tags)
    by_hand = np.rint(np.clip((VALUES.astype(int) - 1024 + 160) / 399, 0, 1) * 255)
    np.testing.assert_array_equal(read_image(path), by_hand)
    exact = write(tmp_path / "exact.dcm", **tags, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(
        read_image(exact), np.rint(np.clip((VALUES.astype(int) - 1024 + 160) / 400, 0, 1) * 255)
    )
    given = read_image(path, window=(-1000, 1000), said=(said := []))
    np.testing.assert_array_equal(given, np.rint(np.clip((VALUES.astype(int) - 24) / 2000, 0, 1) * 255))
    assert said == ["DICOM, rescaled and read through the window -1000 to 1000"]


def test_signed_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", VALUES.astype(np.int16) - 2048)
    np.testing.assert_array_equal(read_image(path), np.rint(VALUES / 4095 * 255))


def test_a_sigmoid_window_is_half_at_its_centre(tmp_path: Path) -> None:
    tags = {"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}
    got = read_image(write(tmp_path / "a.dcm", **tags))
    assert got[VALUES == 2048] == 128
    assert got[VALUES == 2048 + 512] == round(255 / (1 + np.exp(-4 * 0.512)))


def test_a_lookup_table_in_place_of_a_window(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 1024, 8])  # four entries, the first for 1024 and all below
    table.add_new("LUTData", "OW", np.array([10, 20, 30, 40], np.uint16).tobytes())
    got = read_image(write(tmp_path / "a.dcm", VOILUTSequence=Sequence([table])))
    assert set(np.unique(got)) == {10, 40}
    assert (got == 10).sum() == (VALUES <= 1024).sum()


def test_a_lookup_table_from_12_bits_to_8_has_all_its_places(tmp_path: Path) -> None:
    """pydicom's own counts them modulo 256 (findings/dicom_lookup_table_wraps.sh)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    entries = np.rint(np.linspace(0, 255, 4096)).astype(np.uint16)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 8])
    table.add_new("LUTData", "OW", entries.tobytes())
    got = read_image(write(tmp_path / "a.dcm", VOILUTSequence=Sequence([table])))
    np.testing.assert_array_equal(got, entries[VALUES])


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = read_image(write(tmp_path / "a.dcm"))
    path = write(tmp_path / "b.dcm", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path, said=(said := [])), 255 - plain)
    assert said[1] == "DICOM MONOCHROME1, inverted: 0 is white in them"


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colour(tmp_path: Path, kind: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    stored = pixels
    if kind == "YBR_FULL":
        red, green, blue = 200, 100, 50
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        ybr = [luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402]
        stored = np.zeros((8, 8, 3), np.uint8) + np.rint(ybr).astype(np.uint8)
    path = write(tmp_path / "a.dcm", stored, PhotometricInterpretation=kind)
    assert np.abs(read_image(path, colour=True).astype(int) - pixels).max() <= 2
    grey = read_image(path, said=(said := []))
    assert abs(int(grey[0, 0]) - 124) <= 1
    assert said == ["DICOM in colour", COLOUR_LOST]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 3}, "DICOM of 3 frames"),
        ({"BurnedInAnnotation": "YES"}, "says text is burned into its pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "of kind PALETTE COLOR, which is not read"),
        ({"Rows": 100}, "pydicom cannot read"),
    ],
)
def test_what_is_refused(tmp_path: Path, tags: dict[str, object], message: str) -> None:
    with pytest.raises(UnreadableImage, match=message) as error:
        read_image(write(tmp_path / "a.dcm", **tags))
    assert "\n" not in str(error.value)


def test_without_pydicom_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"pip install 'meddef\[dicom\]'"):
        read_image(path)


def test_a_folder_of_dicom_files_is_images_of_ones_own(tmp_path: Path) -> None:
    from meddef.data import CARDS, load_splits
    from meddef.data.own import own_images

    for number in range(6):
        place = tmp_path / "ct" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write(place / f"{number}.dcm", np.roll(VALUES, number), PhotometricInterpretation="MONOCHROME1")
    own = own_images(tmp_path / "ct", window=(0, 4095))
    splits = load_splits(
        "ct", image_size=8, split_policy="released", needed=("test",), data_dir=own.data_dir,
        cache_dir=tmp_path / "cache", progress=False,
    )  # fmt: skip
    del CARDS["ct"]
    by_hand = 255 - np.rint(np.roll(VALUES, 4) / 4095 * 255)
    np.testing.assert_array_equal(splits.test.images[list(splits.test.names).index("a/4.dcm")], by_hand)
    assert splits.report["read_as"]["DICOM MONOCHROME1, inverted: 0 is white in them"] == 6
