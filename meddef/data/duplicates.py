"""Images that are in a dataset more than once: exactly (equal pixels) or nearly (the same picture, saved again).

Nearly is decided in two steps. The perceptual hash (imagehash.phash, 64 bits) proposes pairs; a pair counts when the
32 x 32 thumbnails, each stretched to the same mean and spread, also agree. The second step is needed: all chest
X-rays look alike to the hash.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import cv2
import imagehash
import numpy as np
from PIL import Image

HASH_BITS = 6
"""Most bits in which the perceptual hashes of near duplicates differ."""
THUMBNAIL_DIFFERENCE = 0.05
"""Largest mean absolute difference of standardised thumbnails, in standard deviations."""
EDGE = 32


def pixel_digest(image: np.ndarray) -> str:
    """SHA-256 of the shape and the pixels."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 (32, 32), area-averaged without regard to the aspect ratio."""
    return cv2.resize(image, (EDGE, EDGE), interpolation=cv2.INTER_AREA)


def perceptual_hash(small: np.ndarray) -> np.ndarray:
    """The 64 bits of imagehash.phash of a thumbnail, as bool (64,)."""
    return imagehash.phash(Image.fromarray(small)).hash.ravel()


def exact_groups(digests: list[str]) -> list[list[int]]:
    """Indices of images with equal digests, for every digest that occurs more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        places[digest].append(index)
    return [group for group in places.values() if len(group) > 1]


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray, *, block: int = 1024) -> list[tuple[int, int]]:
    """Pairs (i < j) of near duplicates among N images: ``hashes`` bool (N, 64), ``thumbnails`` uint8 (N, 32, 32).

    Hamming distances come from one matrix product a block of rows: bits as +1 and -1 agree in (64 + product) / 2.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    pairs = []
    for start in range(0, len(signs), block):
        agreement = signs[start : start + block] @ signs[start:].T
        rows, columns = np.nonzero(agreement >= signs.shape[1] - 2 * HASH_BITS)
        upper = rows < columns
        for i, j in zip(rows[upper] + start, columns[upper] + start, strict=True):
            if thumbnail_difference(thumbnails[i], thumbnails[j]) <= THUMBNAIL_DIFFERENCE:
                pairs.append((int(i), int(j)))
    return pairs


def thumbnail_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two thumbnails after giving each mean 0 and standard deviation 1."""
    return float(np.abs(_standardised(one) - _standardised(other)).mean())


def merge(groups: list[list[int]]) -> list[list[int]]:
    """Join groups that share a member; members and groups in ascending order."""
    root: dict[int, int] = {}

    def find(index: int) -> int:
        while root.setdefault(index, index) != index:
            index = root[index]
        return index

    for group in groups:
        for index in group[1:]:
            low, high = sorted((find(group[0]), find(index)))
            root[high] = low
    merged: dict[int, list[int]] = defaultdict(list)
    for index in sorted(root):
        merged[find(index)].append(index)
    return sorted(merged.values())


def _standardised(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    return (values - values.mean()) / max(float(values.std()), 1.0)
