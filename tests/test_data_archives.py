"""The released archives as they unpack: odd folder names, missing splits, names that hold patients, wrong files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from data_folders import make_chest, picture, save
from test_data_folder import load
from test_data_medmnist import arrays, folder  # noqa: F401
from test_data_medmnist import load as load_npz

from meddef.data import CARDS
from meddef.data.source_folder import patient_of
from meddef.data.source_medmnist import find_npz
from meddef.errors import InputError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_chest(tmp_path / "data")


def test_kaggles_oct_folder_ends_in_a_space(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number, name in enumerate(("CNV", "DME", "DRUSEN", "NORMAL")):
            seed = 10 * number + len(split)
            save(picture(seed), tmp_path / f"d/OCT2017 /{split}/{name}/{name}-{seed}-1.jpeg")
    assert len(load(tmp_path / "d", dataset="roct").test) == 4


def test_a_folder_within_one_of_its_name(data: Path) -> None:
    plain = load(data).fingerprint
    (data / "chest_xray").rename(data / "inner")
    (data / "chest_xray/__MACOSX").mkdir(parents=True)
    (data / "inner").rename(data / "chest_xray/chest_xray")
    assert load(data).fingerprint == plain


def test_a_release_without_val(data: Path) -> None:
    shutil.rmtree(data / "chest_xray/val")
    with pytest.raises(InputError, match=r"no folder val in .* \(--split-policy paper or patient draws one"):
        load(data)
    whole = load(data, policy="paper")  # of 10 a class 7, 1.5 rounded up, and the rest
    assert [len(part) for part in (whole.train, whole.val, whole.test)] == [14, 4, 2]
    judged = load(data, needed=("test",))
    assert (len(judged.val), len(judged.test)) == (0, 4)


def test_classes_without_splits_are_a_test_set_as_they_lie(data: Path) -> None:
    root = data / "chest_xray"
    for path in list(root.glob("*/*/*.png")):
        flat = root / path.parent.name / path.name
        flat.parent.mkdir(exist_ok=True)
        path.rename(flat)
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split)
    with pytest.raises(InputError, match="no folder train"):
        load(data)
    assert len(load(data, needed=("test",)).test) == 24
    assert sum(load(data, policy="patient").report["counts"]["test"].values()) < 24


@pytest.mark.parametrize(
    ("dataset", "stem", "patient"),
    [
        ("chest_xray", "BACTERIA-1008087-0001", "1008087"),
        ("chest_xray", "VIRUS-1008087-0002", "1008087"),
        ("chest_xray", "NORMAL-1003233-0001", "1003233"),
        ("chest_xray", "person1_bacteria_2", "person1"),
        ("chest_xray", "NORMAL2-IM-0012-0001", "NORMAL2-IM-0012"),
        ("chest_xray", "IM-0012-0001-0002", "IM-0012"),
        ("roct", "CNV-1016042-1", "1016042"),
    ],
)
def test_patients_are_seen_in_names(dataset: str, stem: str, patient: str) -> None:
    assert patient_of(CARDS[dataset], stem) == patient


@pytest.mark.parametrize("skip", [False, True])
def test_a_folder_within_a_class_is_refused_and_counted(data: Path, skip: bool) -> None:
    for number in range(3):
        save(picture(100 + number), data / f"chest_xray/train/PNEUMONIA/bacteria/a{number}.png")
    with pytest.raises(
        InputError, match=r"train/PNEUMONIA/bacteria in .* is a folder of 3 files within"
    ) as error:
        load(data, skip_unreadable=skip)
    assert "\n" not in str(error.value)


def test_the_exact_name_goes_before_a_second_download(folder: Path) -> None:  # noqa: F811
    for name in ("pneumoniamnist (1).npz", "pneumoniamnist.npz"):
        (folder / name).touch()
    assert find_npz(CARDS["pneumoniamnist"], 28, folder.parent).name == "pneumoniamnist.npz"
    (folder / "pneumoniamnist.npz").unlink()
    assert find_npz(CARDS["pneumoniamnist"], 28, folder.parent).name == "pneumoniamnist (1).npz"


def test_a_name_that_promises_another_size_is_refused(folder: Path) -> None:  # noqa: F811
    np.savez(folder / "pneumoniamnist_224.npz", **arrays(28))
    with pytest.raises(InputError, match="is named as of 224 pixels and holds 28 x 28"):
        load_npz(folder, image_size=224)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n<!DOCTYPE html><html>", "it is a web page: download the file again"),
        (b"words", "it is no archive"),
    ],
)
def test_what_came_instead_is_said_without_advice_to_unpickle(
    folder: Path,  # noqa: F811
    content: bytes,
    words: str,
) -> None:
    (folder / "pneumoniamnist.npz").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        load_npz(folder)
    assert "pickle" not in str(error.value)
