"""MedMNIST files: any .npz of the format, and the messages for what is not one."""

from __future__ import annotations

import importlib.util
import logging
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from meddef.data import CARDS, Preprocessing, Splits, load_splits
from meddef.data.source_medmnist import find_npz
from meddef.errors import InputError

COUNTS = {"train": 14, "val": 6, "test": 6}


def arrays(size: int = 28, *, colour: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    shape = (size, size, 3) if colour else (size, size)
    made = {}
    for split, n in COUNTS.items():
        made[f"{split}_images"] = rng.integers(0, 256, (n, *shape), np.uint8)
        made[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DATA/medmnist, empty; the home folder is empty too."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MEDDEF_DATA_DIR", raising=False)
    path = tmp_path / "data" / "medmnist"
    path.mkdir(parents=True)
    return path


def load(folder: Path, **options: object) -> Splits:
    given = {"image_size": 28, "split_policy": "released", "preprocessing": Preprocessing(min_max=False)}
    cache = folder.parent.parent / "cache"
    given = {**given, "data_dir": folder.parent, "cache_dir": cache, "progress": False, **options}
    return load_splits("pneumoniamnist", **given)  # type: ignore[arg-type]


def test_released_splits_are_the_arrays(folder: Path) -> None:
    made = arrays()
    np.savez(folder / "pneumoniamnist_reconstructed.npz", **made)
    splits = load(folder)
    assert splits.classes == ("normal", "pneumonia")
    for split in COUNTS:
        image_set = getattr(splits, split)
        np.testing.assert_array_equal(image_set.images, made[f"{split}_images"])
        np.testing.assert_array_equal(image_set.labels, made[f"{split}_labels"].ravel())
    assert splits.report["patients"]["images_without_patient"] == 26


def test_paper_policy_draws_over_all(folder: Path) -> None:
    np.savez(folder / "pneumoniamnist.npz", **arrays())
    splits = load(folder, split_policy="paper")
    assert (len(splits.train), len(splits.val), len(splits.test)) == (18, 4, 4)


def test_patients_are_not_known(folder: Path) -> None:
    np.savez(folder / "pneumoniamnist.npz", **arrays())
    with pytest.raises(InputError, match="has no patient ids: use split policy released or"):
        load(folder, split_policy="patient")


def test_colour_becomes_luma(folder: Path) -> None:
    made = arrays(colour=True)
    np.savez(folder / "pneumoniamnist.npz", **made)
    luma = made["train_images"] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(load(folder).train.images - luma).max() <= 0.51


def test_other_sizes_are_resized_and_enlarging_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(folder / "pneumoniamnist.npz", **arrays())
    with caplog.at_level(logging.WARNING):
        assert load(folder, image_size=40).train.images.shape == (14, 40, 40)
    assert "pneumoniamnist.npz is enlarged to 40 pixels" in caplog.text


@pytest.mark.parametrize(
    ("image_size", "chosen"), [(28, ""), (40, "_64"), (64, "_64"), (65, "_128"), (224, "_128")]
)
def test_the_nearest_size_that_is_large_enough_is_taken(folder: Path, image_size: int, chosen: str) -> None:
    for suffix in ("", "_64", "_128"):
        (folder / f"pneumoniamnist{suffix}.npz").touch()
    found = find_npz(CARDS["pneumoniamnist"], image_size, folder.parent)
    assert found.name == f"pneumoniamnist{chosen}.npz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_labels": None}, "has no array val_labels"),
        (
            {"train_images": np.zeros((14, 28, 28), np.float32)},
            r"train_images in .* is float32 \(14, 28, 28\)",
        ),
        ({"train_images": np.zeros((0, 28, 28), np.uint8)}, "with N > 0"),
        ({"test_images": np.zeros((6, 28), np.uint8)}, r"must be uint8 \(N, H, W\)"),
        ({"test_labels": np.zeros(5, np.uint8)}, "must be one integer per image"),
        ({"test_labels": np.zeros(6, np.float64)}, "must be one integer per image"),
        ({"test_labels": np.full(6, 2, np.uint8)}, "run from 2 to 2; the classes are 0 to 1"),
        (
            {"test_labels": np.array([{}] * 6, dtype=object)},
            "is not a readable .npz",
        ),  # pickled: never loaded
    ],
)
def test_wrong_contents_are_named(folder: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    made = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    np.savez(folder / "pneumoniamnist.npz", **made)
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04 cut"])
def test_what_is_no_npz(folder: Path, content: bytes) -> None:
    (folder / "pneumoniamnist.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"is not a readable .npz"):
        load(folder)


def test_without_file_and_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(
        InputError, match=r"no file found and no medmnist package; pip install 'meddef\[medmnist\]'"
    ):
        load(folder)


def stand_in(download) -> types.ModuleType:  # type: ignore[no-untyped-def]
    """The two names of the medmnist package that are used here."""
    module = types.ModuleType("medmnist")
    module.INFO = {"pneumoniamnist": {"python_class": "PneumoniaMNIST"}}  # type: ignore[attr-defined]
    module.PneumoniaMNIST = download  # type: ignore[attr-defined]
    return module


def test_the_package_downloads_the_size_that_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(*, split: str, download: bool, size: int, root: str) -> None:
        asked.append((download, size))
        np.savez(Path(root) / f"pneumoniamnist_{size}.npz", **arrays(size))

    (folder.parent.parent / "home").mkdir()
    monkeypatch.setitem(sys.modules, "medmnist", stand_in(download))
    assert load(folder, image_size=50).train.images.shape == (14, 50, 50)
    load(folder, image_size=60)
    assert asked == [(True, 64)]  # once: the second load finds the file


def test_a_failed_download_says_how_to_get_it_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**options: object) -> None:
        raise RuntimeError("\n Automatic download failed! \n")

    (folder.parent.parent / "home").mkdir()
    monkeypatch.setitem(sys.modules, "medmnist", stand_in(download))
    with pytest.raises(InputError, match=r"could not download it; .*zenodo.org/records/10519652"):
        load(folder)


def test_the_package_still_has_the_names_used_here(folder: Path) -> None:
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        pytest.skip("the medmnist package is not installed")
    info = runpy.run_path(str(Path(package.origin).with_name("info.py")))["INFO"]  # without torchvision
    for dataset in ("pneumoniamnist", "octmnist"):
        card = CARDS[dataset]
        assert len(info[dataset]["label"]) == len(card.classes)
        assert info[dataset]["python_class"].lower() == dataset
        published = {split: sum(counts.values()) for split, counts in card.published_counts.items()}
        assert published == info[dataset]["n_samples"]
