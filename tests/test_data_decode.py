"""Every kind of file is read as grey or refused with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folders import picture, save
from PIL import Image

from meddef.data.decode import UnreadableImage, quiet_decoding, read_image


def test_grey_png_comes_back_as_it_is(tmp_path: Path) -> None:
    image = picture(1)
    np.testing.assert_array_equal(read_image(save(image, tmp_path / "a.png")), image)


def test_colours_become_luma(tmp_path: Path) -> None:
    pure = np.zeros((8, 24, 3), np.uint8)
    for channel in range(3):
        pure[:, 8 * channel : 8 * channel + 8, channel] = 255
    grey = read_image(save(pure, tmp_path / "rgb.png"))
    assert grey[0, [0, 8, 16]].tolist() == [76, 150, 29]  # 255 times .299, .587, .114 (ITU-R 601)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    layer = np.full((8, 16, 4), 200, np.uint8)
    layer[:, :8, 3], layer[:, 8:, 3] = 0, 255
    grey = read_image(save(layer, tmp_path / "rgba.png"))
    assert grey[0, 0] == 0
    assert grey[0, 15] == 200


def test_palette_with_transparency_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(picture(2)).convert("P")
    image.save(tmp_path / "p.gif", transparency=0)
    assert read_image(tmp_path / "p.gif").shape == (40, 48)


def test_cmyk_white_and_black(tmp_path: Path) -> None:
    ink = np.zeros((16, 32, 4), np.uint8)
    ink[:, 16:, 3] = 255
    Image.frombytes("CMYK", (32, 16), ink.tobytes()).save(tmp_path / "c.tiff")
    grey = read_image(tmp_path / "c.tiff")
    assert grey[0, 0] == 255
    assert grey[0, 31] == 0


def test_cmyk_jpeg_is_close_to_its_grey(tmp_path: Path) -> None:
    image = picture(3)
    Image.fromarray(image).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "c.jpg").astype(int) - image).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_stretched_from_their_own_range(tmp_path: Path, suffix: str) -> None:
    deep = np.tile(np.array([1000, 1000 + 51, 1000 + 255], np.uint16), (9, 3))
    grey = read_image(save(deep, tmp_path / f"deep.{suffix}"))
    assert grey.dtype == np.uint8
    assert grey[0, :3].tolist() == [0, 51, 255]


def test_constant_sixteen_bits_are_black(tmp_path: Path) -> None:
    assert not read_image(save(np.full((9, 9), 4000, np.uint16), tmp_path / "flat.png")).any()


def test_nan_is_refused(tmp_path: Path) -> None:
    values = np.ones((9, 9), np.float32)
    values[3, 3] = np.nan
    with pytest.raises(UnreadableImage, match="NaN"):
        read_image(save(values, tmp_path / "nan.tiff"))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png"))) == {0, 255}


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(UnreadableImage, match=r"^empty file$"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "content", [b"just words", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG"]
)
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"^not an image$"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_half_a_file(tmp_path: Path, suffix: str) -> None:
    path = save(picture(4, 120, 120), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match=r"^(broken: .*|not an image)$"):
        read_image(path)


def test_tiny(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="7 x 20 pixels, smaller than 8"):
        read_image(save(picture(5, 20, 7), tmp_path / "a.png"))
    assert read_image(save(picture(5, 8, 8), tmp_path / "b.png")).shape == (8, 8)


@pytest.mark.parametrize("edge", [10_000, 20_000])  # Pillow warns about the first and refuses the second
def test_huge(tmp_path: Path, edge: int) -> None:
    Image.new("1", (edge, edge)).save(tmp_path / "a.png")
    with quiet_decoding(), pytest.raises(UnreadableImage, match="more than 89 megapixels"):
        read_image(tmp_path / "a.png")


def test_folder_and_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing")
    for name in ("folder.png", "link.png"):
        with pytest.raises(UnreadableImage, match=r"^not a file$"):
            read_image(tmp_path / name)


def test_any_damage_is_either_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    originals = [
        save(picture(6), tmp_path / f"a.{s}").read_bytes() for s in ("jpg", "png", "tiff", "gif", "bmp")
    ]
    path = tmp_path / "damaged"
    refused = 0
    with quiet_decoding():
        for round_number in range(300):
            content = bytearray(originals[round_number % len(originals)])
            for place in rng.integers(0, len(content), 3):
                content[place] = rng.integers(256)
            kept = len(content) if round_number % 3 else rng.integers(1, len(content))
            path.write_bytes(content[:kept])
            try:
                assert read_image(path).dtype == np.uint8
            except UnreadableImage:
                refused += 1
    assert 0 < refused < 300
