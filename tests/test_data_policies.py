"""Splits: the paper's counts, and no patient in two splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddef.data import CARDS
from meddef.data.policies import check_policy, paper_split, patient_groups, patient_split
from meddef.data.source_folder import patient_of
from meddef.errors import InputError

CHEST = np.repeat([0, 1], [1583, 4273])


def counts(labels: np.ndarray, splits: np.ndarray) -> dict[str, list[int]]:
    return {
        s: np.bincount(labels[splits == s], minlength=labels.max() + 1).tolist()
        for s in ("train", "val", "test")
    }


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_paper_counts_on_the_chest_xrays(seed: int) -> None:
    found = counts(CHEST, paper_split(CHEST, seed))
    assert found == {"train": [1108, 2991], "val": [237, 641], "test": [238, 641]}
    assert {split: sum(c) for split, c in found.items()} == {"train": 4099, "val": 878, "test": 879}


@pytest.mark.parametrize(
    ("n", "expected"), [(5, [4, 1, 0]), (10, [7, 2, 1]), (20, [14, 3, 3]), (33, [23, 5, 5])]
)
def test_halves_go_up(n: int, expected: list[int]) -> None:
    found = counts(np.zeros(n, dtype=int), paper_split(np.zeros(n, dtype=int), 0))
    assert [found[split][0] for split in ("train", "val", "test")] == expected


def test_paper_split_depends_on_the_seed_alone() -> None:
    np.testing.assert_array_equal(paper_split(CHEST, 3), paper_split(CHEST, 3))
    assert (paper_split(CHEST, 3) != paper_split(CHEST, 4)).mean() > 0.2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 99))
def test_paper_split_places_every_image_within_one_of_its_share(labels: list[int], seed: int) -> None:
    array = np.array(labels)
    for label in np.unique(array):
        n = int((array == label).sum())
        for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            assert abs(((paper_split(array, seed) == split) & (array == label)).sum() - share * n) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=60), st.integers(0, 99))
def test_no_patient_is_in_two_splits(images: list[tuple[int, int]], seed: int) -> None:
    labels = np.array([label for label, _ in images])
    patients = [str(patient) for _, patient in images]
    splits = patient_split(labels, patient_groups(patients, []), seed)
    assert set(splits) <= {"train", "val", "test"}
    for patient in set(patients):
        assert len({s for s, p in zip(splits, patients, strict=True) if p == patient}) == 1


def test_patient_split_is_balanced_and_repeatable() -> None:
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 300, 2000)
    labels = (rng.random(300) < 0.3).astype(int)[owner]
    groups = patient_groups([str(o) for o in owner], [])
    splits = patient_split(labels, groups, 5)
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        for label in (0, 1):
            found = ((splits == split) & (labels == label)).sum() / (labels == label).sum()
            assert abs(found - share) < 0.01
    np.testing.assert_array_equal(splits, patient_split(labels, groups, 5))
    assert (splits != patient_split(labels, groups, 6)).any()


def test_patients_who_share_a_picture_stay_together() -> None:
    groups = patient_groups(["a", "b", "c", "a", "c"], [[1, 4]])
    assert groups == [[0, 3], [1, 2, 4]]


def test_unknown_policy() -> None:
    with pytest.raises(
        InputError, match="unknown split policy 'random': choose from released, paper, patient"
    ):
        check_policy("random")


@pytest.mark.parametrize(
    ("dataset", "stem", "patient"),
    [
        ("chest_xray", "person12_bacteria_46", "person12"),
        ("chest_xray", "person12_virus_44", "person12"),
        ("chest_xray", "person1_virus_2_1", "person1"),
        ("chest_xray", "IM-0115-0001", "IM-0115"),
        ("chest_xray", "IM-0207-0001-0002", "IM-0207"),
        ("chest_xray", "NORMAL2-IM-1427-0001", "NORMAL2-IM-1427"),
        ("chest_xray", "scan7", None),
        ("roct", "CNV-13823-1", "13823"),
        ("roct", "NORMAL-13823-20", "13823"),
        ("roct", "13823", None),
        ("octdl", "amd_1096590_1", "1096590"),
        ("octdl4", "no_1096590_12", "1096590"),
    ],
)
def test_patient_ids_come_from_file_names(dataset: str, stem: str, patient: str | None) -> None:
    assert patient_of(CARDS[dataset], stem) == patient
