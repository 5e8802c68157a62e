"""Small folder datasets for the tests: blurred noise, so that no two pictures are alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from meddef.data import CARDS, Preprocessing
from meddef.data.cache import Pool, cached_pool
from meddef.data.pool import Index, prepare
from meddef.data.source_folder import folder_source, list_items


def picture(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth noise over the full grey range, uint8 (height, width)."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.rint(255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())).astype(np.uint8)


def save(image: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def make_chest(folder: Path, *, patients: int = 12) -> Path:
    """DATA/chest_xray with two images per patient: half NORMAL (IM-...), half PNEUMONIA (person...), all different."""
    seed = 0
    for number in range(patients):
        split = ("train", "train", "val", "test")[number // 2 % 4]
        for image in range(2):
            seed += 1
            if number % 2:
                name = f"PNEUMONIA/person{number}_virus_{seed}.png"
            else:
                name = f"NORMAL/IM-{number:04d}-{image:04d}.png"
            save(picture(seed), folder / "chest_xray" / split / name)
    return folder


def make_pool(data: Path, cache: Path) -> Pool:
    """What ``load_splits`` does before the split, without torch, which a child process would take seconds to import."""
    card, root = CARDS["chest_xray"], data / "chest_xray"

    def build(path: Path) -> Index:
        return prepare(
            folder_source(card, root, list_items(card, root)),
            path,
            dataset=card.name,
            image_size=32,
            preprocessing=Preprocessing(),
            skip_unreadable=False,
            progress=False,
        )

    cache.mkdir(exist_ok=True)
    return cached_pool(cache, card.name, "a key", build)
