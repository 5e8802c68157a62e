"""Each preprocessing step against values worked out by hand or by another library."""

from __future__ import annotations

import numpy as np
import pytest
from data_folders import picture
from pydantic import ValidationError

from meddef.data import CARDS, Preprocessing
from meddef.data.preprocessing import brighten, denoise, equalise, min_max, pad, resize_area


def test_area_resize_averages_blocks() -> None:
    image = picture(1, 32, 48)
    means = image.reshape(8, 4, 12, 4).mean(axis=(1, 3))
    small = resize_area(image, 12, keep_aspect=True)
    assert small.shape == (8, 12)
    assert np.abs(small - means).max() <= 0.5


def test_resize_without_aspect_fills_the_square() -> None:
    assert resize_area(picture(1, 32, 48), 16, keep_aspect=False).shape == (16, 16)


@pytest.mark.parametrize(("height", "width"), [(8, 5000), (5000, 8), (9, 9), (33, 32)])
def test_odd_shapes_end_square(height: int, width: int) -> None:
    prepared = Preprocessing().apply(picture(2, height, width), 32)
    assert prepared.shape == (32, 32)
    assert prepared.dtype == np.uint8


def test_padding_centres_on_black() -> None:
    padded = pad(np.full((2, 5), 9, np.uint8), 5)
    assert padded[:, 0].tolist() == [0, 9, 9, 0, 0]


def test_min_max_by_hand() -> None:
    assert min_max(np.array([[50, 75, 150]], np.uint8)).tolist() == [[0, 64, 255]]  # 25 * 2.55 = 63.75
    assert min_max(np.array([[7, 7]], np.uint8)).tolist() == [[7, 7]]


def test_brightness_multiplies_and_clips() -> None:
    assert brighten(np.array([[0, 100, 250]], np.uint8), 1.2).tolist() == [[0, 120, 255]]
    assert brighten(np.array([[100]], np.uint8), 0.5).tolist() == [[50]]


def test_clahe_spreads_a_dull_image() -> None:
    dull = (picture(3, 64, 64) // 8 + 100).astype(np.uint8)
    assert equalise(dull, 2.0, 4).std() > 1.5 * dull.std()
    assert equalise(dull, 8.0, 4).std() > equalise(dull, 2.0, 4).std()


@pytest.mark.parametrize(("method", "strength"), [("nl_means", 15), ("median", 3), ("bilateral", 60)])
def test_denoising_brings_back_what_noise_hid(method: str, strength: float) -> None:
    clean = np.repeat(np.array([[60, 180]], np.uint8), 32, axis=1).repeat(64, axis=0)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    error = np.abs(noisy.astype(int) - clean).mean()
    assert np.abs(denoise(noisy, method, strength).astype(int) - clean).mean() < 0.7 * error


def test_steps_leave_their_input_alone() -> None:
    image = picture(4)
    before = image.copy()
    steps = {"denoise": {"method": "median", "strength": 3}, "clahe": {}, "brightness": 2}
    Preprocessing.model_validate(steps).apply(image, 40)
    np.testing.assert_array_equal(image, before)


def test_order_is_denoise_then_min_max_then_clahe_then_brightness() -> None:
    image = picture(5, 32, 32) // 2 + 30
    steps = {
        "denoise": {"method": "median", "strength": 3},
        "clahe": {"clip_limit": 2, "tiles": 4},
        "brightness": 1.3,
    }
    by_hand = brighten(equalise(min_max(denoise(image, "median", 3)), 2, 4), 1.3)
    np.testing.assert_array_equal(Preprocessing.model_validate(steps).apply(image, 32), by_hand)


def test_false_and_none_leave_steps_out() -> None:
    image = picture(6, 32, 32) // 2 + 30
    np.testing.assert_array_equal(Preprocessing(min_max=False).apply(image, 32), image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharpen": 1}, "Extra inputs"),
        ({"resize": "cubic"}, "area"),
        ({"brightness": -1}, "greater than 0"),
        ({"brightness": float("nan")}, "finite"),
        ({"denoise": {"method": "median", "strength": 4}}, "odd kernel size of at least 3, not 4"),
        ({"denoise": {"method": "wavelet", "strength": 1}}, "nl_means"),
        ({"clahe": {"tiles": 0}}, "greater than or equal to 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Preprocessing.model_validate(settings)


def test_cards_follow_the_paper() -> None:
    chest, retina = CARDS["chest_xray"].preprocessing, CARDS["roct"].preprocessing
    assert chest.pad
    assert retina.pad
    assert chest.denoise is not None
    assert not chest.min_max  # named for retinal OCT only
    assert (chest.clahe, chest.brightness) == (None, None)
    assert retina.clahe is not None
    assert retina.brightness is not None
    assert retina.min_max
    assert (CARDS["chest_xray"].mean, CARDS["chest_xray"].std) == (0.48230693, 0.22157896)
    assert (CARDS["roct"].mean, CARDS["roct"].std) == (0.19338988, 0.1933612)
    assert sum(sum(c.values()) for c in CARDS["roct"].published_counts.values()) == 84_484
    assert sum(sum(c.values()) for c in CARDS["chest_xray"].published_counts.values()) == 5_856
