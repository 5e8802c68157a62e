"""MedMNIST: any .npz with {train,val,test}_{images,labels}, found in a folder or got by the medmnist package."""

from __future__ import annotations

import logging
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np

from meddef.data.cards import SPLITS, Card
from meddef.data.source import Item, Source
from meddef.data.source_folder import find_data_dir
from meddef.errors import InputError

logger = logging.getLogger(__name__)

SIZES = (28, 64, 128, 224)
OWN_FOLDER = Path(".medmnist")
"""Where the medmnist package keeps its files, below the home folder."""


def find_npz(card: Card, image_size: int, data_dir: Path | None) -> Path:
    """The .npz of a dataset: DATA/medmnist/<name>*.npz, else what the medmnist package has or downloads.

    Of several sizes (in the name: <name>_64.npz; 28 where there is none) the smallest of at least
    ``image_size`` is taken, else the largest. ``InputError`` says how to get the file.
    """
    base = find_data_dir(card, data_dir)
    for folder in ([base / "medmnist"] if base else []) + [Path.home() / OWN_FOLDER]:
        if files := sorted(folder.glob(f"{card.name}*.npz")):
            best = _best(files, image_size)
            if _size(best) < image_size:
                logger.warning("%s: %s is enlarged to %d pixels", card.name, best.name, image_size)
            return best
    return _download(card, _best_size(list(SIZES), image_size))


def medmnist_source(card: Card, path: Path) -> Source:
    """All images of an .npz, in the order train, val, test; patients are not known.

    ``InputError`` for a file that is no .npz, lacks an array, or holds other shapes, types or labels.
    """
    arrays = _read(card, path)
    images = np.concatenate([arrays[f"{split}_images"] for split in SPLITS])
    items = [
        Item(f"{split}/{index:06d}", int(label), None, split)
        for split in SPLITS
        for index, label in enumerate(arrays[f"{split}_labels"].ravel())
    ]
    if images.ndim == 4:
        return Source(items, lambda index: cv2.cvtColor(images[index], cv2.COLOR_RGB2GRAY))
    return Source(items, lambda index: images[index])


def _best(files: list[Path], image_size: int) -> Path:
    size = _best_size([_size(path) for path in files], image_size)
    return next(path for path in files if _size(path) == size)


def _best_size(sizes: list[int], image_size: int) -> int:
    return min((size for size in sizes if size >= image_size), default=max(sizes))


def _size(path: Path) -> int:
    match = re.search(r"_(64|128|224)(?=[._])", path.name)
    return int(match.group(1)) if match else SIZES[0]


def _download(card: Card, size: int) -> Path:
    try:
        import medmnist
    except ImportError:
        raise InputError(f"{card.name}: no file found and no medmnist package; {card.how_to_get}") from None
    root = Path.home() / OWN_FOLDER
    root.mkdir(exist_ok=True)
    dataset = getattr(medmnist, medmnist.INFO[card.name]["python_class"])
    try:
        dataset(split="test", download=True, size=size, root=str(root))
    except RuntimeError:
        raise InputError(
            f"{card.name}: the medmnist package could not download it; {card.how_to_get}"
        ) from None
    return _best(sorted(root.glob(f"{card.name}*.npz")), size)


def _read(card: Card, path: Path) -> dict[str, np.ndarray]:
    names = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except KeyError as error:
        raise InputError(f"{card.name}: {path} has no array {error.args[0]}; get the file again") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{card.name}: {path} is not a readable .npz ({error}); {card.how_to_get}") from None
    for split in SPLITS:
        _check(card, path, split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
    return arrays


def _check(card: Card, path: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    shape_fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not shape_fits or not len(images):
        raise InputError(
            f"{card.name}: {split}_images in {path} is {images.dtype} {images.shape}; "
            "it must be uint8 (N, H, W) or (N, H, W, 3) with N > 0"
        )
    if labels.size != len(images) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{card.name}: {split}_labels in {path} is {labels.dtype} {labels.shape}; "
            f"it must be one integer an image ({len(images)})"
        )
    if labels.min() < 0 or labels.max() >= len(card.classes):
        raise InputError(
            f"{card.name}: {split}_labels in {path} run from {labels.min()} to {labels.max()}; "
            f"the classes are 0 to {len(card.classes) - 1}"
        )
