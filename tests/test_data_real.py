"""The real images, where MEDDEF_DATA_DIR points to them: counts and duplicates known from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from meddef.data import Preprocessing, Splits, load_splits

DATA = os.environ.get("MEDDEF_DATA_DIR", "")


def needs(folder: str, files: int) -> pytest.MarkDecorator:
    found = len(list(Path(DATA, folder).rglob("*.jp*g"))) if DATA else 0
    reason = f"needs MEDDEF_DATA_DIR with {folder}/ of {files} images (found {found})"
    return pytest.mark.skipif(found != files, reason=reason)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def load(dataset: str, policy: str, cache: Path) -> Splits:
    plain = Preprocessing()  # without denoising, which takes most of the time
    return load_splits(
        dataset, image_size=32, split_policy=policy, preprocessing=plain, cache_dir=cache, progress=False
    )


@needs("chest_xray", 5856)
def test_chest_paper_split_has_the_papers_counts(cache: Path) -> None:
    report = load("chest_xray", "paper", cache).report
    assert report["counts_before_removal"] == {
        "train": {"NORMAL": 1108, "PNEUMONIA": 2991},
        "val": {"NORMAL": 237, "PNEUMONIA": 641},
        "test": {"NORMAL": 238, "PNEUMONIA": 641},
    }
    assert report["counts"]["val"] == report["counts_before_removal"]["val"]
    assert report["counts"]["test"] == report["counts_before_removal"]["test"]


@needs("chest_xray", 5856)
def test_chest_released_split_and_its_duplicates(cache: Path) -> None:
    """30 groups and 32 surplus files: counted from file hashes when the images were collected."""
    report = load("chest_xray", "released", cache).report
    assert report["counts_before_removal"]["test"] == {"NORMAL": 234, "PNEUMONIA": 390}
    assert report["counts_before_removal"]["val"] == {"NORMAL": 8, "PNEUMONIA": 8}
    exact = report["duplicates"]["exact"]
    assert (exact["groups"], exact["surplus_files"], exact["groups_across"]) == (30, 32, 0)
    assert exact["groups_within"] == {"train": 24, "val": 0, "test": 6}
    assert exact["groups_with_different_labels"] == 0
    assert (
        report["duplicates"]["near"]["groups"] == 0
    )  # all chest X-rays look alike, and none is called a copy
    assert len(report["removed_from_training"]) == 26
    assert report["patients"]["in_train_and_test"] == 170


@needs("chest_xray", 5856)
def test_chest_patient_split_is_free_of_leakage(cache: Path) -> None:
    splits = load("chest_xray", "patient", cache)
    assert splits.report["patients"]["in_several_splits"] == 0
    assert splits.report["duplicates"]["exact"]["groups_across"] == 0
    for image_set, share in ((splits.val, 0.15), (splits.test, 0.15)):
        np.testing.assert_allclose(np.bincount(image_set.labels) / [1583, 4273], share, atol=0.005)


@needs("octdl", 1966)
def test_octdl_patient_split_is_free_of_leakage(cache: Path) -> None:
    report = load("octdl", "patient", cache).report
    assert report["patients"]["in_several_splits"] == 0
    assert report["duplicates"]["near"]["groups_across"] == 0
    assert report["duplicates"]["exact"]["groups"] == 0  # dropped when the images were collected
    assert report["duplicates"]["near"]["groups"] > 0


@needs("roct", 223)
def test_roct_shares_six_patients_between_train_and_test(cache: Path) -> None:
    assert load("roct", "released", cache).report["patients"]["in_train_and_test"] == 6
