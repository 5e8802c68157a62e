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


def near_groups(hashes: np.ndarray, thumbnails: np.ndarray) -> list[list[int]]:
    """Groups of near duplicates among N images: ``hashes`` bool (N, 64), ``thumbnails`` uint8 (N, 32, 32)
    or (N, 32, 32, 3). Whatever is near to a member of a group belongs to it; members and groups in ascending order.

    From a first image on, each member is compared with the images that no group has reached yet. Where all are near
    to each other the first takes them all, so that the time grows with N and not with the number of pairs; where none
    are, what is left of N²/2 are differences of 64 bits, of which a processor does a thousand million a second.

    >>> near_groups(np.zeros((3, 64), bool), np.stack([np.eye(32), 1 - np.eye(32), np.eye(32)]).astype(np.uint8))
    [[0, 2]]
    """
    words = np.packbits(hashes, axis=1).view(np.uint64).ravel()
    left, left_words = np.arange(len(words)), words
    groups = []
    while len(left):
        members = [int(left[0])]
        left, left_words = left[1:], left_words[1:]
        for member in members:  # grows meanwhile
            alike = np.flatnonzero(np.bitwise_count(left_words ^ words[member]) <= HASH_BITS)
            near = alike[_near(thumbnails, member, left[alike])]
            if len(near):
                members += left[near].tolist()
                left, left_words = np.delete(left, near), np.delete(left_words, near)
        if len(members) > 1:
            groups.append(sorted(members))
    return groups


def _near(thumbnails: np.ndarray, one: int, others: np.ndarray, *, block: int = 1024) -> np.ndarray:
    """Which of ``others`` have a thumbnail near to that of ``one``: bool, as long as they are."""
    parts = [others[start : start + block] for start in range(0, len(others), block)]
    found = [
        thumbnail_differences(thumbnails[[one]], thumbnails[part]) <= THUMBNAIL_DIFFERENCE for part in parts
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)


def thumbnail_differences(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean absolute differences of thumbnails, uint8 (P, 32, 32) or (P, 32, 32, 3) each, after giving every one mean
    0 and standard deviation 1; float32 (P,). Where there is one on one side, each of the other is compared with it."""
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
