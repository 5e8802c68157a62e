"""RGB, one channel and rectangles, from the file to the model: pixels computed by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from data_folders import picture, save
from test_data_folder import load
from torch import nn

from meddef.attacks import jsma
from meddef.data import ImageSet, Preprocessing, load_splits
from meddef.data.cards import Card, add_card
from meddef.data.decode import COLOUR_LOST, read_image
from meddef.evaluation import evaluate
from meddef.models import build_model
from meddef.probes.pixels import measure
from meddef.saliency.maps import random_maps
from meddef.saliency.place import border_mask
from meddef.saliency.removal import blurred
from meddef.settings import DatasetSettings, TrainingSettings, load_profile
from meddef.training import train

HUES = {"blue": (0, 35, 255), "green": (0, 85, 0), "red": (167, 0, 0)}
"""Colours of equal luma, 50: 0.299 R + 0.587 G + 0.114 B."""
PLAIN = Preprocessing(min_max=False)
CARD = {
    "name": "hues", "kind": "folder", "preprocessing": {"min_max": False}, "classes": tuple(HUES),
    **dict.fromkeys(("title", "modality", "source", "licence", "citation", "how_to_get"), "drawn"),
}  # fmt: skip


def hue(name: str, seed: int) -> np.ndarray:
    """A patch of the colour on black, somewhere: uint8 (32, 32, 3)."""
    image = np.zeros((32, 32, 3), np.uint8)
    top, left = np.random.default_rng(seed).integers(0, 12, 2)
    image[top : top + 20, left : left + 20] = HUES[name]
    return image


@pytest.fixture
def hues(tmp_path: Path) -> Path:
    seed = 0
    for split, count in {"train": 12, "val": 4, "test": 6}.items():
        for name in HUES:
            for _ in range(count):
                save(hue(name, seed := seed + 1), tmp_path / f"data/hues/{split}/{name}/{seed}.png")
    add_card(Card.model_validate(CARD))
    return tmp_path / "data"


def test_the_three_hues_have_one_luma() -> None:
    assert {round(float(np.dot(colour, (0.299, 0.587, 0.114)))) for colour in HUES.values()} == {50}


def test_rgb_is_kept_and_grey_is_said(tmp_path: Path) -> None:
    image = np.dstack([picture(seed) for seed in (1, 2, 3)])
    path = save(image, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path, colour=True, said=(said := [])), image)
    assert said == []
    assert read_image(path, said=said).shape == (40, 48)
    assert said == [COLOUR_LOST]
    grey = save(np.dstack([picture(1)] * 3), tmp_path / "grey.png")
    read_image(grey, said=said)
    assert said == []


def test_sixteen_bit_colour_keeps_its_channels(tmp_path: Path) -> None:
    deep = np.stack([picture(seed).astype(np.uint16) * 257 for seed in (1, 2, 3)], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    got = read_image(tmp_path / "a.tif", window=(0, 65535), colour=True)
    np.testing.assert_array_equal(got, deep // 257)


@pytest.mark.parametrize(
    "steps", [{"denoise": {"method": "median", "strength": 3}}, {"clahe": {}}, {"min_max": True}]
)
def test_preprocessing_of_equal_channels_is_that_of_grey(steps: dict[str, object]) -> None:
    grey, prepare = picture(3, 40, 60), Preprocessing.model_validate({"min_max": False} | steps)
    one = prepare.apply(grey, (24, 30)).astype(int)
    three = prepare.apply(np.dstack([grey] * 3), (24, 30)).astype(int)
    assert three.shape == (24, 30, 3)
    assert np.abs(three - one[..., None]).max() <= 1  # CLAHE goes through YCrCb


def test_a_rectangle_is_filled_as_far_as_its_tighter_side(tmp_path: Path) -> None:
    image = np.full((40, 80), 200, np.uint8)
    done = PLAIN.apply(image, (32, 48))  # by 0.6: 24 x 48, four black rows above and below
    assert done.shape == (32, 48)
    assert (done[4:28] == 200).all()
    assert not done[[*range(4), *range(28, 32)]].any()
    np.testing.assert_array_equal(PLAIN.apply(image, (32, 32)), PLAIN.apply(image, 32))


def test_splits_hold_rgb_and_its_pixels_drive_the_fingerprint(hues: Path) -> None:
    grey, rgb, one = (load(hues, dataset="hues", channels=channels) for channels in (None, 3, 1))
    image, _ = rgb.test[0]
    assert image.shape == (3, 32, 32)
    assert {tuple(np.rint(255 * image.flatten(1).max(1).values.numpy()).astype(int))} == {HUES["blue"]}
    assert one.test[0][0].shape == (1, 32, 32)
    assert len({grey.fingerprint, rgb.fingerprint, one.fingerprint}) == 3
    pixels = np.asarray(rgb.train.images) / 255
    assert rgb.mean == pytest.approx(pixels.mean())
    assert rgb.std == pytest.approx(pixels.std())
    assert grey.report["read_as"] == {COLOUR_LOST: 66}
    assert rgb.report["read_as"] == {}
    assert load(hues, dataset="hues", image_size=(32, 32)).fingerprint == grey.fingerprint
    assert load(hues, dataset="hues", image_size=[28, 40]).test.images.shape[1:] == (28, 40)


class Small(nn.Module):
    """Means of each channel, and a linear layer: enough to tell hues apart."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.convolution(x)).mean((2, 3)))


@pytest.mark.parametrize(("channels", "right"), [(3, 18), (None, 6)])
def test_hues_of_equal_luma_are_told_apart_in_rgb_alone(hues: Path, tmp_path: Path, channels, right) -> None:  # type: ignore[no-untyped-def]
    splits = load(hues, dataset="hues", channels=channels, drop_duplicates=False)
    torch.manual_seed(0)
    model = Small()
    settings = TrainingSettings(
        epochs=25, learning_rate=0.05, weight_decay=0, batch_size=12, adversarial=None
    )
    train(model, splits.train, splits.val, settings, seed=0, folder=tmp_path / "run", progress=False)
    outcome = evaluate(model, splits.test, None)
    assert outcome.counts.n == 18
    assert outcome.counts.correct_before == right


def test_near_duplicates_are_not_sought_by_luma_alone(hues: Path) -> None:
    report = load(hues, dataset="hues", channels=3).report
    across = [
        {name.split("/")[1] for name in group} for group in report["duplicates"]["exact"]["examples_across"]
    ]
    across += [
        {name.split("/")[1] for name in group} for group in report["duplicates"]["near"]["examples_across"]
    ]
    assert all(len(colours) == 1 for colours in across)


def test_jsma_counts_the_features_of_one_channel() -> None:
    """Of 8 x 8 pixels a quarter may move: 16 features of one channel, 48 of three; so sure a model stays."""
    torch.manual_seed(0)
    for channels in (1, 3):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 3))
        with torch.no_grad():
            net[1].bias[0] += 1000
        images, labels = torch.rand(6, channels, 8, 8), torch.zeros(6, dtype=torch.long)
        outcome = evaluate(net, [(images, labels)], partial(jsma, theta=1.0, gamma=0.25))
        assert outcome.l0 == 16 * channels


@pytest.mark.parametrize("variant", ["resnet18", "full", "cbam", "plain_capacity"])
def test_a_model_of_one_channel_begins_as_that_of_three(variant: str) -> None:
    models = []
    for channels in (1, 3):
        torch.manual_seed(0)
        models.append(build_model(variant, 2, mean=0.4, std=0.2, channels=channels).eval())
    grey = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(models[0](grey), models[1](grey.repeat(1, 3, 1, 1)), rtol=1e-3, atol=1e-4)


def test_settings_write_channels_only_where_they_are_given() -> None:
    assert "channels" not in DatasetSettings(name="phantom_oct").model_dump()
    assert DatasetSettings(name="phantom_oct", channels=1).model_dump()["channels"] == 1
    profile = load_profile("smoke")
    square = type(profile).model_validate(profile.model_dump() | {"image_size": [64, 64]})
    assert square == profile
    wide = type(profile).model_validate(profile.model_dump() | {"image_size": [28, 40]})
    assert wide.features(profile.datasets[0].name) == 3 * 28 * 40


def test_phantoms_are_square(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="drawn square"):
        load_splits("phantom_oct", image_size=(32, 40), cache_dir=tmp_path)


def test_arrays() -> None:
    grey = np.arange(2 * 8 * 8, dtype=np.uint16).reshape(2, 8, 8) * 32
    images = ImageSet.from_arrays(grey, [0, 1], window=(0, 4095), channels=1)
    assert images[1][0].shape == (1, 8, 8)
    assert int(images.images[1, 7, 7]) == round(127 * 32 * 255 / 4095)
    rgb = ImageSet.from_arrays(np.stack([hue(name, 0) for name in HUES]), [0, 1, 2], names=list(HUES))
    image, label = rgb[2]
    assert label == 2
    assert image.flatten(1).max(1).values.mul(255).round().tolist() == list(HUES["red"])
    with pytest.raises(ValueError, match="need window="):
        ImageSet.from_arrays(grey, [0, 1])
    with pytest.raises(ValueError, match="class indices from 0"):
        ImageSet.from_arrays(grey, [0.0, 1.0], window=(0, 1))
    floats = ImageSet.from_arrays(np.array([[[0.0, 1.0]]]).repeat(2, 0), [0, 1], window=(0, 1))
    assert floats.images[0].tolist() == [[0, 255]]


def test_opencv_reads_channels_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((9, 9, 3), (255, 35, 0), np.uint8))  # blue, green, red
    assert read_image(path, colour=True)[0, 0].tolist() == [0, 35, 255]


def test_what_is_measured_of_maps_and_pixels_takes_rectangles_and_colour() -> None:
    mask = border_mask((20, 40))
    assert (~mask).sum() == 16 * 32  # two rows and four columns off every side
    assert random_maps(2, (20, 40), layer="layer2", seed=0).shape == (2, 20, 40)
    assert blurred(torch.rand(1, 3, 20, 40)).shape == (1, 3, 20, 40)
    grey = np.stack([picture(seed) for seed in range(3)])
    rgb = np.repeat(grey[..., None], 3, axis=3)
    for name, values in measure(grey, grey).items():
        np.testing.assert_array_equal(measure(rgb, rgb)[name], values)


def test_every_variant_takes_28_pixels() -> None:
    for variant in ("resnet18", "full", "cbam"):
        net = build_model(variant, 3, channels=1).eval()
        assert net(torch.rand(2, 1, 28, 36)).shape == (2, 3)
