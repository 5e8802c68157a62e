"""Folders in, splits out: layouts, removal of repeats, unusable files, and the messages."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import make_chest, picture, save

from meddef.data import Preprocessing, Splits, load_splits
from meddef.errors import InputError

PLAIN = Preprocessing()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_chest(tmp_path / "data")


def load(data: Path, *, policy: str = "released", dataset: str = "chest_xray", **options: object) -> Splits:
    given = {"image_size": 32, "preprocessing": PLAIN, "cache_dir": data.parent / "cache", "progress": False}
    return load_splits(dataset, split_policy=policy, data_dir=data, **{**given, **options})  # type: ignore[arg-type]


def test_released_follows_the_folders(data: Path) -> None:
    splits = load(data)
    assert splits.classes == ("NORMAL", "PNEUMONIA")
    assert splits.train.names[0] == "train/NORMAL/IM-0000-0000.png"
    assert {name.split("/")[0] for name in splits.val.names} == {"val"}
    on_disk = {s: len(list((data / "chest_xray" / s).glob("*/*"))) for s in ("train", "val", "test")}
    assert {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)} == on_disk
    for name, label in zip(splits.train.names, splits.train.labels, strict=True):
        assert splits.classes[label] in name
    assert splits.train.patients[0] == "IM-0000"


def test_pixels_are_those_of_the_prepared_file(data: Path) -> None:
    splits = load(data, preprocessing=Preprocessing(min_max=False), image_size=48)
    first = splits.train.images[0]
    assert not first[:4].any()  # 40 x 48 is padded by four black rows
    np.testing.assert_array_equal(first[4:44], picture(1))
    image, label = splits.train[0]
    assert image.shape == (3, 48, 48)
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image[2].numpy(), first / 255, rtol=1e-6)
    assert label == 0


def test_mean_and_std_are_those_of_the_training_pixels(data: Path) -> None:
    splits = load(data, policy="paper")
    pixels = np.asarray(splits.train.images, dtype=np.float64) / 255
    assert splits.mean == pytest.approx(pixels.mean(), abs=1e-12)
    assert splits.std == pytest.approx(pixels.std(), abs=1e-12)


def test_patient_policy_keeps_patients_whole(data: Path) -> None:
    splits = load(data, policy="patient")
    found = [set(s.patients) for s in (splits.train, splits.val, splits.test)]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(found, 2))
    assert splits.report["patients"]["in_several_splits"] == 0
    assert sum(len(s) for s in (splits.train, splits.val, splits.test)) == 24


def test_shared_patients_are_reported(data: Path) -> None:
    root = data / "chest_xray"
    save(picture(900), root / "test/PNEUMONIA/person1_bacteria_900.png")  # person1 is also in train, as virus
    patients = load(data).report["patients"]
    assert (patients["in_several_splits"], patients["in_train_and_test"]) == (1, 1)
    assert patients["examples"] == ["person1"]


def plant_copies(data: Path) -> None:
    root = data / "chest_xray"
    shutil.copy(
        root / "train/NORMAL/IM-0000-0000.png", root / "train/NORMAL/IM-9000-0000.png"
    )  # within train
    shutil.copy(root / "test/NORMAL/IM-0006-0000.png", root / "train/NORMAL/IM-9001-0000.png")  # train = test
    shutil.copy(root / "val/NORMAL/IM-0004-0000.png", root / "test/NORMAL/IM-9002-0000.png")  # val = test
    save(picture(5), root / "train/NORMAL/IM-9003-0000.jpg")  # the picture of IM-0002-0000.png, saved again


def test_training_repeats_are_removed_and_named(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant_copies(data)
    before = {path.name for path in (data / "chest_xray/train/NORMAL").iterdir()}
    with caplog.at_level(logging.WARNING):
        splits = load(data)
    removed = [
        "train/NORMAL/IM-9000-0000.png",
        "train/NORMAL/IM-9001-0000.png",
        "train/NORMAL/IM-9003-0000.jpg",
    ]
    assert splits.report["removed_from_training"] == removed
    assert "3 duplicate training images were removed" in caplog.text
    assert not set(removed) & set(splits.train.names)
    assert "test/NORMAL/IM-9002-0000.png" in splits.test.names
    counts = (
        splits.report["counts_before_removal"]["train"]["NORMAL"],
        splits.report["counts"]["train"]["NORMAL"],
    )
    assert counts == (len(before), len(before) - 3)

    exact, near = splits.report["duplicates"]["exact"], splits.report["duplicates"]["near"]
    assert (exact["groups"], exact["surplus_files"], exact["groups_across"]) == (3, 3, 2)
    assert exact["groups_within"] == {"train": 1, "val": 0, "test": 0}
    assert (near["groups"], near["groups_within"]["train"]) == (1, 1)
    json.dumps(splits.report)


def test_repeats_can_stay(data: Path) -> None:
    plant_copies(data)
    splits = load(data, drop_duplicates=False)
    assert "train/NORMAL/IM-9001-0000.png" in splits.train.names
    assert splits.report["removed_from_training"] == []
    assert splits.report["duplicates"]["exact"]["groups"] == 3


def test_patient_policy_keeps_copies_together(data: Path) -> None:
    plant_copies(data)
    report = load(data, policy="patient").report
    assert report["duplicates"]["exact"]["groups_across"] == 0
    assert report["duplicates"]["near"]["groups_across"] == 0


def test_contradicting_labels_are_counted(data: Path) -> None:
    root = data / "chest_xray"
    shutil.copy(root / "train/NORMAL/IM-0000-0000.png", root / "train/PNEUMONIA/person77_virus_1.png")
    assert load(data).report["duplicates"]["exact"]["groups_with_different_labels"] == 1


def plant_unusable(data: Path) -> None:
    root = data / "chest_xray"
    (root / "train/NORMAL/IM-8000-0000.png").touch()
    (root / "val/NORMAL/notes.txt").write_text("words")
    whole = root / "train/NORMAL/IM-0000-0000.png"
    (root / "test/PNEUMONIA/person80_virus_1.png").write_bytes(whole.read_bytes()[:300])
    save(picture(9, 4, 4), root / "train/PNEUMONIA/person81_virus_1.png")


def test_unusable_files_stop_with_one_line_and_no_cache(data: Path) -> None:
    plant_unusable(data)
    with pytest.raises(InputError, match="4 of 28 files cannot be used") as error:
        load(data)
    message = str(error.value)
    assert "train/NORMAL/IM-8000-0000.png (empty file)" in message
    assert "person81_virus_1.png (4 x 4 pixels, smaller than 8)" in message
    assert "and 1 more" in message
    assert "--skip-unreadable" in message
    assert "\n" not in message
    assert [path.name for path in (data.parent / "cache").iterdir() if ".npy" in path.name] == []


def test_unusable_files_are_skipped_and_listed(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = load(data)
    plant_unusable(data)
    with caplog.at_level(logging.WARNING):
        splits = load(data, skip_unreadable=True)
    assert len(splits.report["skipped"]) == 4
    assert {"name": "val/NORMAL/notes.txt", "reason": "not an image"} in splits.report["skipped"]
    assert "skipped 4 unusable files" in caplog.text
    assert splits.report["files_found"] == 28
    assert splits.fingerprint == whole.fingerprint  # the usable images are the same, row for row
    np.testing.assert_array_equal(splits.test.images, whole.test.images)
    with pytest.raises(
        InputError, match="4 of 28 files"
    ):  # the pool made with skipping does not hide them later
        load(data)


def test_nothing_usable(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("NORMAL", "PNEUMONIA"):
            path = tmp_path / "d/chest_xray" / split / name / "a.png"
            path.parent.mkdir(parents=True)
            path.touch()
    with pytest.raises(InputError, match="6 of 6 files cannot be used"):
        load(tmp_path / "d", skip_unreadable=True)


def test_hidden_files_are_not_images(data: Path) -> None:
    (data / "chest_xray/train/NORMAL/.DS_Store").write_bytes(b"x")
    (data / "chest_xray/train/.cache").mkdir()
    assert load(data).report["files_found"] == 24


def test_no_folder_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEDDEF_DATA_DIR", raising=False)
    with pytest.raises(InputError, match=r"--data-dir or MEDDEF_DATA_DIR\); download kaggle.com"):
        load_splits("chest_xray", cache_dir=tmp_path)


def test_folder_comes_from_the_environment(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEF_DATA_DIR", str(data))
    monkeypatch.setenv("MEDDEF_CACHE_DIR", str(data.parent / "cache"))
    found = load_splits(
        "chest_xray", image_size=32, split_policy="released", preprocessing=PLAIN, progress=False
    )
    assert found.fingerprint == load(data).fingerprint


def rename(old: str, new: str | None):  # type: ignore[no-untyped-def]
    def change(data: Path) -> None:
        if new is None:
            shutil.rmtree(data / old)
        else:
            (data / old).rename(data / new)

    return change


def empty(data: Path) -> None:
    for path in (data / "chest_xray/val").glob("*/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename("chest_xray", "xrays"), "no folder chest_xray in .*; download kaggle.com"),
        (rename("chest_xray/val", None), "no folder val in .*; download kaggle.com"),
        (
            rename("chest_xray/train/NORMAL", "chest_xray/train/healthy"),
            "class folders healthy that are none of NORMAL",
        ),
        (empty, "split val in .* has no images"),
        (
            lambda data: [rename(f"chest_xray/{s}/NORMAL", None)(data) for s in ("train", "val", "test")],
            "no images of NORMAL",
        ),
    ],
    ids=["no dataset", "no split", "class name", "empty split", "no class"],
)
def test_wrong_layouts_say_what_to_do(data: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    change(data)
    with pytest.raises(InputError, match=message) as error:
        load(data)
    assert "\n" not in str(error.value)


def test_dataset_folder_itself_is_recognised(data: Path) -> None:
    with pytest.raises(InputError, match="holds train/ itself; give its parent"):
        load(data / "chest_xray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "chest"}, "unknown dataset 'chest': choose from chest_xray, roct"),
        ({"policy": "random"}, "unknown split policy 'random'"),
        ({"image_size": 4}, "image_size must be at least 8 px, not 4 px"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"sizes": {"train": 3}}, "sizes is for phantoms only"),
    ],
)
def test_wrong_arguments(data: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(data, **options)  # type: ignore[arg-type]


def test_missing_data_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data folder .*nowhere does not exist"):
        load(tmp_path / "nowhere")


def test_a_class_missing_from_one_split_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(data / "chest_xray/val/NORMAL")
    with caplog.at_level(logging.WARNING):
        report = load(data).report
    assert report["classes_without_images"] == {"val": ["NORMAL"]}
    assert "val has no images of NORMAL" in caplog.text


def test_oct_folders_and_a_selection_of_classes(tmp_path: Path) -> None:
    seed = 0
    for split in ("train", "val", "test"):
        for name in ("CNV", "DME", "DRUSEN", "NORMAL"):
            seed += 1
            save(picture(seed), tmp_path / f"d/OCT2017/{split}/{name}/{name}-{seed}-1.jpeg")
        for name in ("AMD", "DME", "ERM", "NO", "RAO", "RVO", "VID"):
            seed += 1
            save(picture(seed), tmp_path / f"d/octdl/{split}/{name}/{name.lower()}_{seed}_1.jpg")
    assert len(load(tmp_path / "d", dataset="roct").train) == 4
    assert len(load(tmp_path / "d", dataset="octdl").train) == 7
    four = load(tmp_path / "d", dataset="octdl4")
    assert four.classes == ("AMD", "DME", "ERM", "NO")
    assert sorted(four.train.labels) == [0, 1, 2, 3]
