"""X-ray-like drawings stored as real devices and converters store them: the same picture must come back from each."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_folders import make_chest
from PIL import Image
from typer.testing import CliRunner

from meddef.cli import app
from meddef.data.decode import UnreadableImage, read_image


def xray() -> np.ndarray:
    """Two dark lungs in a bright body before black, int64 (48, 64) in 0..255; no symmetry, both ends taken."""
    rows, columns = np.mgrid[0:48, 0:64]
    body = 230 * np.exp(-(((columns - 30) / 26) ** 4))
    lungs = sum(np.exp(-(((columns - x) / 8) ** 2) - ((rows - 22) / y) ** 2) for x, y in ((18, 14), (43, 17)))
    grey = np.rint(body * (1 - 0.7 * lungs) + rows / 4).astype(np.int64)
    grey[:3, :9], grey[-3:, -5:] = 0, 255
    return grey.clip(0, 255)


GREY = xray()
UPRIGHT = GREY.astype(np.uint8)
TWELVE = np.rint(GREY * (4095 / 255)).astype(np.uint16)


def write_png(path: Path, samples: np.ndarray, colour_type: int, used: int | None = None) -> Path:
    """A 16-bit PNG by its specification (the chunks alone), with sBIT where ``used`` bits are given."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if used:
        chunks.insert(1, (b"sBIT", bytes([used] * {0: 1, 2: 3, 4: 2, 6: 4}[colour_type])))
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return path


def stored_as(turn: int) -> np.ndarray:
    """How a camera stores the picture that has to be turned by ``turn`` (EXIF 2.3, table of orientations)."""
    stored = {
        1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: np.rot90(UPRIGHT, 2), 4: UPRIGHT[::-1],
        5: UPRIGHT.T, 6: np.rot90(UPRIGHT), 7: np.rot90(UPRIGHT, 2).T, 8: np.rot90(UPRIGHT, -1),
    }  # fmt: skip
    return stored[turn]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_an_orientation_tag_is_applied_once(tmp_path: Path, suffix: str, turn: int) -> None:
    exif = Image.Exif()
    exif[274] = turn
    options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    path, said = tmp_path / f"a.{suffix}", []
    Image.fromarray(np.ascontiguousarray(stored_as(turn))).save(path, exif=exif, **options)
    got = read_image(path, said=said)
    assert got.shape == UPRIGHT.shape
    assert np.abs(got.astype(int) - GREY).max() <= (3 if suffix == "jpg" else 0)
    assert said == (["turned upright as their orientation tag says"] if turn > 1 else [])


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
@pytest.mark.parametrize("at_top", [True, False])
def test_twelve_bits_in_a_png_that_says_so(tmp_path: Path, colour_type: int, at_top: bool) -> None:
    samples = TWELVE << 4 | TWELVE >> 8 if at_top else TWELVE
    layers = np.repeat(samples[..., None], {0: 1, 2: 3, 4: 2, 6: 4}[colour_type], axis=2)
    if colour_type >= 4:
        layers[..., -1] = 65535
    got = read_image(write_png(tmp_path / "a.png", layers, colour_type, used=12))
    np.testing.assert_array_equal(got, UPRIGHT)


def test_a_dark_image_keeps_its_scale_where_bits_are_known(tmp_path: Path) -> None:
    got = read_image(write_png(tmp_path / "a.png", (TWELVE // 4)[..., None], 0, used=12))
    assert np.abs(got - GREY / 4).max() <= 1


@pytest.mark.parametrize(("colour_type", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_colours_of_sixteen_bits_keep_more_than_the_top_byte(
    tmp_path: Path, colour_type: int, samples: int
) -> None:
    layers = np.repeat(TWELVE[..., None], samples, axis=2)
    if colour_type >= 4:
        layers[..., -1] = 65535
    got = read_image(write_png(tmp_path / "a.png", layers, colour_type))
    low, high = np.percentile(GREY, (1, 99))
    expected = ((GREY - low) / (high - low)).clip(0, 1) * 255
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("largest", [None, 4095])
def test_white_is_zero(tmp_path: Path, bits: int, largest: int | None) -> None:
    values = 255 - UPRIGHT if bits == 8 else 4095 - TWELVE
    tags = [(281, 3, 1, largest, True)] if largest and bits == 16 else []
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", extratags=tags)
    got, said = read_image(tmp_path / "a.tif", said=(words := [])), words
    exact = bits == 8 or largest
    assert np.corrcoef(got.ravel(), GREY.ravel())[0, 1] > 0.98
    assert not exact or np.abs(got.astype(int) - GREY).max() <= 1
    assert ("inverted, because 0 is white" in said) == (bits == 16)


def test_tiff_colours_with_a_largest_value(tmp_path: Path) -> None:
    layers = np.repeat(TWELVE[..., None], 3, axis=2)
    tifffile.imwrite(
        tmp_path / "a.tif", layers, photometric="rgb", extratags=[(281, 3, 3, (4095,) * 3, True)]
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), UPRIGHT)


def test_sixteen_bit_planes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([TWELVE] * 3), photometric="rgb", planarconfig="separate")
    with pytest.raises(UnreadableImage, match="separate planes"):
        read_image(tmp_path / "a.tif")


def test_a_hot_pixel_and_a_marker_do_not_darken_the_rest(tmp_path: Path) -> None:
    hot = TWELVE.copy()
    plain = read_image(write_png(tmp_path / "plain.png", hot[..., None], 0)).astype(int)
    hot[10, 5:30] = 65535  # 25 of 3,072 pixels
    got = read_image(write_png(tmp_path / "hot.png", hot[..., None], 0)).astype(int)
    others = np.delete(np.arange(48), 10)
    assert np.abs(got - plain)[others].max() <= 25
    assert abs(got[others].mean() - plain[others].mean()) < 10


def test_a_window_gives_all_images_one_scale(tmp_path: Path) -> None:
    path, said = write_png(tmp_path / "a.png", (TWELVE // 2)[..., None], 0), []
    got = read_image(path, (0, 4095), said)
    assert np.abs(got - GREY / 2).max() <= 1
    assert said == ["deeper than 8 bits, read through the window 0 to 4095"]


def test_a_pgm_names_its_largest_value(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 64 48 4095\n" + (TWELVE // 2).astype(">u2").tobytes())
    assert np.abs(read_image(path) - GREY / 2).max() <= 1


def test_signed_and_float_tiffs(tmp_path: Path) -> None:
    for name, values in (("i", TWELVE.astype(np.int16) - 1024), ("f", (GREY / 510).astype(np.float32))):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack")
        got = read_image(tmp_path / f"{name}.tif")
        assert got.min() == 0
        assert got.max() == 255
        assert np.corrcoef(got.ravel(), GREY.ravel())[0, 1] > 0.99


def test_data_show_counts_them(tmp_path: Path) -> None:
    folder = make_chest(tmp_path)
    first, second = sorted((folder / "chest_xray/train/NORMAL").iterdir())[:2]
    exif = Image.Exif()
    exif[274] = 3
    Image.open(first).save(first, exif=exif)
    write_png(second, TWELVE[..., None], 0)
    done = CliRunner().invoke(
        app,
        [
            "data",
            "show",
            "--dataset",
            "chest_xray",
            "--data-dir",
            str(folder),
            "--cache-dir",
            str(tmp_path / "c"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "files turned upright as their orientation tag says: 1" in done.output
    assert "files deeper than 8 bits of unknown depth" in done.output
