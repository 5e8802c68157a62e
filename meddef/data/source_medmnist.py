"""MedMNIST: any .npz with {train,val,test}_{images,labels}, from a folder or the medmnist package."""

from __future__ import annotations

import logging
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np

from meddef.data.cards import SPLITS, Card
from meddef.data.decode import COLOUR_LOST, has_colour
from meddef.data.source import Item, Source
from meddef.data.source_folder import find_data_dir
from meddef.errors import InputError
from meddef.image_size import Size, sides

logger = logging.getLogger(__name__)

SIZES = (28, 64, 128, 224)
OWN_FOLDER = Path(".medmnist")
"""Where the medmnist package keeps its files, below the home folder."""


def find_npz(card: Card, size: Size, data_dir: Path | None) -> Path:
    """The .npz of a dataset: DATA/medmnist/<name>*.npz, else what the medmnist package has or downloads.

    Of several sizes (in the name: <name>_64.npz; 28 where there is none) the smallest of at least
    the longer side of ``size`` is taken, else the largest. ``InputError`` says how to get the file.
    """
    image_size = max(sides(size))
    base = find_data_dir(card, data_dir)
    for folder in ([base / "medmnist"] if base else []) + [Path.home() / OWN_FOLDER]:
        if files := _files(card, folder):
            best = _best(files, image_size)
            if _size(best) < image_size:
                logger.warning("%s: %s is enlarged to %d pixels", card.name, best.name, image_size)
            return best
    return _download(card, _best_size(list(SIZES), image_size))


def medmnist_source(card: Card, path: Path, *, colour: bool = False) -> Source:
    """All images of an .npz, in the order train, val, test; patients are not known. ``colour`` keeps that of RGB.

    ``InputError`` for a file that is not an .npz, lacks an array, or has other shapes, types or labels.
    """
    arrays = _read(card, path)
    images = np.concatenate([arrays[f"{split}_images"] for split in SPLITS])
    items = [
        Item(f"{split}/{index:06d}", int(label), None, split)
        for split in SPLITS
        for index, label in enumerate(arrays[f"{split}_labels"].ravel())
    ]
    if images.ndim == 4 and not colour:
        return Source(
            items,
            lambda index: cv2.cvtColor(images[index], cv2.COLOR_RGB2GRAY),
            lambda index: [COLOUR_LOST] if has_colour(images[index]) else [],
        )
    return Source(items, lambda index: images[index])


def _files(card: Card, folder: Path) -> list[Path]:
    """Those named as MedMNIST does, else any whose name begins so (a second download, "name (1).npz")."""
    files = sorted(folder.glob(f"{card.name}*.npz"))
    exact = [path for path in files if re.fullmatch(rf"{card.name}(_\d+)?\.npz", path.name)]
    return exact or files


def _best(files: list[Path], image_size: int) -> Path:
    size = _best_size([_size(path) for path in files], image_size)
    return next(path for path in files if _size(path) == size)


def _best_size(sizes: list[int], image_size: int) -> int:
    return min((size for size in sizes if size >= image_size), default=max(sizes))


def _size(path: Path) -> int:
    return _named_size(path) or SIZES[0]


def _named_size(path: Path) -> int | None:
    match = re.search(r"_(64|128|224)(?=[._])", path.name)
    return int(match.group(1)) if match else None


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
    return _best(_files(card, root), size)


def _read(card: Card, path: Path) -> dict[str, np.ndarray]:
    names = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except KeyError as error:
        raise InputError(f"{card.name}: {path} has no array {error.args[0]}; get the file again") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = _no_npz(path, error)
        raise InputError(
            f"{card.name}: {path} is not a readable .npz ({reason}); {card.how_to_get}"
        ) from None
    found, named = arrays["test_images"].shape[1:3], _named_size(path)
    if named is not None and found != (named, named) and len(found) == 2:
        sides = " x ".join(map(str, found))
        raise InputError(
            f"{card.name}: {path} is named as of {named} pixels and holds {sides}: rename it, or get the file again"
        )
    for split in SPLITS:
        _check(card, path, split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
    return arrays


def _no_npz(path: Path, error: Exception) -> str:
    """Why it is no .npz of numbers, without NumPy's advice to unpickle it."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head.startswith(b"<"):
        return "it is a web page: download the file again"
    if isinstance(error, ValueError):
        return "it holds pickled objects, which are not opened" if head[:2] == b"PK" else "it is no archive"
    return str(error)


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
            f"it must be one integer per image ({len(images)})"
        )
    if labels.min() < 0 or labels.max() >= len(card.classes):
        raise InputError(
            f"{card.name}: {split}_labels in {path} run from {labels.min()} to {labels.max()}; "
            f"the classes are 0 to {len(card.classes) - 1}"
        )
