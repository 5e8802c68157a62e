"""Duplicate images: exact (equal pixels) or near (the same image, re-saved).

Near duplicates are found in two steps. The perceptual hash (imagehash.phash, 64 bits) proposes pairs; a pair counts
when the 32 x 32 thumbnails, each stretched to the same mean and spread, also agree. The second step is needed, since
the hash does not distinguish chest X-rays.
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
THUMBNAIL_DIFFERENCE = 0.08
"""Largest mean absolute difference of standardised thumbnails, in standard deviations. Measured: chest X-rays
saved again (JPEG quality 40, half the size, noise of 5 grey levels, gamma 0.8) stay within it, and no two
distinct ones of 5,856 come nearer than 0.15. In retinal OCT it also joins neighbouring or repeated scans of
one eye."""
EDGE = 32


def pixel_digest(image: np.ndarray) -> str:
    """SHA-256 of the shape and the pixels."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 (32, 32) or (32, 32, 3), area-averaged without regard to the aspect ratio."""
    return cv2.resize(image, (EDGE, EDGE), interpolation=cv2.INTER_AREA)


def perceptual_hash(small: np.ndarray) -> np.ndarray:
    """The 64 bits of imagehash.phash of a thumbnail, as bool (64,)."""
    return imagehash.phash(Image.fromarray(small)).hash.ravel()  # of RGB that of luma


def exact_groups(digests: list[str]) -> list[list[int]]:
    """Indices of images with equal digests, for every digest that occurs more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        places[digest].append(index)
    return [group for group in places.values() if len(group) > 1]


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray, *, block: int = 1024) -> list[tuple[int, int]]:
    """Pairs (i < j) of near duplicates among N images: ``hashes`` bool (N, 64), ``thumbnails`` uint8 (N, 32, 32)
    or (N, 32, 32, 3).

    Hamming distances come from one matrix product per block of rows: bits as +1 and -1 agree in (64 + product)
    / 2.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    pairs = []
    for start in range(0, len(signs), block):
        agreement = signs[start : start + block] @ signs[start:].T
        rows, columns = np.nonzero(agreement >= signs.shape[1] - 2 * HASH_BITS)
        upper = rows < columns
        ones, others = rows[upper] + start, columns[upper] + start
        for part in range(0, len(ones), block):
            i, j = ones[part : part + block], others[part : part + block]
            near = thumbnail_differences(thumbnails[i], thumbnails[j]) <= THUMBNAIL_DIFFERENCE
            pairs += list(zip(i[near].tolist(), j[near].tolist(), strict=True))
    return pairs


def thumbnail_differences(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean absolute differences of thumbnails, uint8 (P, 32, 32) each, after giving every one mean 0 and
    standard deviation 1; float32 (P,)."""
    differences = np.abs(_standardised(ones) - _standardised(others))
    return differences.mean(axis=tuple(range(1, differences.ndim)))


def merge(groups: list[list[int]]) -> list[list[int]]:
    """Join groups that share a member; members and groups in ascending order."""
    root: dict[int, int] = {}

    def find(index: int) -> int:
        while root.setdefault(index, index) != index:
            index = root[index]
        return index

    for group in groups:
        for index in group:
            low, high = sorted((find(group[0]), find(index)))
            root[high] = low
    merged: dict[int, list[int]] = defaultdict(list)
    for index in sorted(root):
        merged[find(index)].append(index)
    return sorted(merged.values())


def _standardised(images: np.ndarray) -> np.ndarray:
    values = images.astype(np.float32)
    within = tuple(range(1, values.ndim))
    spread = values.std(axis=within, keepdims=True)
    return (values - values.mean(axis=within, keepdims=True)) / np.maximum(spread, 1)
