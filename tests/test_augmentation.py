"""Augmentation: no technique draws nothing, each does what it says, training uses what its settings name."""

import math
from pathlib import Path
from statistics import NormalDist
from typing import get_args

import numpy as np
import pytest
import torch
from test_training import CLEAN, run

from meddef.settings import Augmentation, TrainingSettings
from meddef.training.augmentation import TECHNIQUES, augment, translate


def batch(count: int = 6, side: int = 32) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_no_technique_draws_no_random_number_and_gives_the_images_themselves() -> None:
    images, source = batch(), generator()
    before = source.get_state()
    assert augment(images, [], source) is images
    assert torch.equal(source.get_state(), before)


def test_the_settings_know_the_techniques_and_keep_one_order() -> None:
    assert get_args(Augmentation) == tuple(TECHNIQUES)
    settings = TrainingSettings(augmentation=["translate", "horizontal_flip"])
    assert settings.augmentation == ["horizontal_flip", "translate"]


def test_a_flip_mirrors_the_images_that_are_drawn() -> None:
    """The random numbers are those of the setting ``horizontal_flip`` before there was this module."""
    images, kept = batch(40), batch(40)
    found = augment(images, ["horizontal_flip"], generator()).numpy()
    drawn = torch.rand(40, generator=generator()).numpy() < 0.5
    assert 0 < drawn.sum() < 40
    for image, was, flipped in zip(found, kept.numpy(), drawn, strict=True):
        assert np.array_equal(image, was[:, :, ::-1] if flipped else was)
    assert torch.equal(images, kept)


def test_a_shift_is_whole_and_small_and_repeats_the_edge() -> None:
    """Against numpy: which of the 5 × 5 windows of the image with repeated edges it is; all occur."""
    images = batch(400)
    found = translate(images, generator())
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    shifts = []
    for image, was in zip(found.numpy(), images.numpy(), strict=True):
        wide = np.pad(was, ((0, 0), (2, 2), (2, 2)), mode="edge")
        windows = {(y, x): wide[:, y : y + 32, x : x + 32] for y in range(5) for x in range(5)}
        (shift,) = (place for place, window in windows.items() if np.array_equal(window, image))
        shifts.append(shift)
    assert set(shifts) == {(y, x) for y in range(5) for x in range(5)}


def test_an_image_too_small_to_shift_stays() -> None:
    images = batch(4, side=15)
    assert torch.equal(translate(images, generator()), images)


def test_techniques_follow_each_other_from_one_generator() -> None:
    images, source = batch(), generator()
    step = TECHNIQUES["translate"](TECHNIQUES["horizontal_flip"](images, source), source)
    assert torch.equal(augment(images, ["horizontal_flip", "translate"], generator()), step)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_training_takes_what_its_settings_name_and_repeats_it(tmp_path: Path, name: Augmentation) -> None:
    settings = CLEAN.model_copy(update={"augmentation": [name]})
    plain, first, again = (
        run(tmp_path / folder, chosen)[1].history
        for folder, chosen in (("plain", CLEAN), ("first", settings), ("again", settings))
    )
    assert first == again
    assert first != plain


@pytest.mark.parametrize(("name", "sigma"), [("noise_12", 0.12), ("noise_25", 0.25)])
def test_noise_has_its_size_and_stays_in_range(name: Augmentation, sigma: float) -> None:
    found = augment(torch.full((4, 3, 64, 64), 0.5), [name], generator())
    inside = (found > 0) & (found < 1)  # at 0.5 a share of 2 Φ(-0.5 / σ) is clipped
    assert inside.float().mean().item() == pytest.approx(math.erf(0.5 / sigma / 2**0.5), abs=0.005)
    quantile = NormalDist(0.5, sigma).inv_cdf(0.75)
    assert (found < quantile).float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert 0 <= found.min() <= found.max() <= 1
