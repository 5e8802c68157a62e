"""The phantom datasets through ``load_splits``."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from meddef.data import CARDS, Splits, draw_phantom_split, load_splits
from meddef.data.phantom import FAMILIES
from meddef.data.source_phantom import FAMILY
from meddef.errors import InputError

SIZES = {"train": 40, "val": 12, "test": 20}


def load(dataset: str, cache: Path, **options: object) -> Splits:
    given = {"image_size": 32, "sizes": SIZES, "cache_dir": cache, "progress": False, **options}
    return load_splits(dataset, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", ["phantom_oct", "phantom_xray"])
def test_sizes_classes_and_patients(dataset: str, tmp_path: Path) -> None:
    splits = load(dataset, tmp_path)
    assert {split: len(getattr(splits, split)) for split in SIZES} == SIZES
    assert splits.classes == FAMILIES[FAMILY[dataset]]
    patients = [set(getattr(splits, split).patients) for split in SIZES]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(patients, 2))
    assert splits.report["split_policy"] == "as drawn"
    assert splits.report["removed_from_training"] == []
    assert list(splits.report["duplicates"]) == [
        "exact"
    ]  # near ones are not looked for, and not said to be none


def test_masks_belong_to_the_images(tmp_path: Path) -> None:
    splits = load("phantom_oct", tmp_path)
    for split in SIZES:
        drawn = draw_phantom_split("phantom_oct", split, image_size=32, sizes=SIZES)
        np.testing.assert_array_equal(getattr(splits, split).images, drawn.images)
        np.testing.assert_array_equal(getattr(splits, split).labels, drawn.labels)
        assert drawn.masks.shape == drawn.images.shape


def test_every_policy_gives_the_same_and_every_seed_another(tmp_path: Path) -> None:
    prints = {
        load("phantom_oct", tmp_path, split_policy=p).fingerprint for p in ("released", "paper", "patient")
    }
    assert len(prints) == 1
    assert load("phantom_oct", tmp_path, seed=1).fingerprint not in prints
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_default_sizes(tmp_path: Path) -> None:
    splits = load("phantom_oct", tmp_path, sizes=None)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (400, 100, 200)


def test_stand_ins_have_the_classes_of_what_they_stand_for() -> None:
    for name in FAMILY:
        assert CARDS[name].classes == CARDS[CARDS[name].stands_for or ""].classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"train": 0}}, "sizes: train must be at least 1, not 0"),
        ({"sizes": {"training": 5}}, "sizes: unknown split training; choose from train, val, test"),
        ({"image_size": 16}, "size must be at least 28"),
    ],
)
def test_bad_sizes(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("phantom_oct", tmp_path, **options)


def test_bad_names_of_masks() -> None:
    with pytest.raises(
        InputError, match="'roct' is not a phantom dataset: choose from phantom_oct, phantom_xray"
    ):
        draw_phantom_split("roct", "test", image_size=32)
    with pytest.raises(InputError, match="unknown split 'exam'"):
        draw_phantom_split("phantom_oct", "exam", image_size=32)
