"""Copies are found, look-alikes are not."""

from __future__ import annotations

import io

import cv2
import imagehash
import numpy as np
import pytest
from data_folders import picture
from PIL import Image

from meddef.data import draw_phantom_split
from meddef.data.duplicates import (
    HASH_BITS,
    THUMBNAIL_DIFFERENCE,
    exact_groups,
    merge,
    near_groups,
    perceptual_hash,
    pixel_digest,
    thumbnail,
    thumbnail_differences,
)


def groups_among(images: list[np.ndarray]) -> list[list[int]]:
    small = [thumbnail(image) for image in images]
    return near_groups(np.stack([perceptual_hash(s) for s in small]), np.stack(small))


def groups_pair_by_pair(small: np.ndarray) -> list[list[int]]:
    """By the definition: every pair of thumbnails, with the peer's own hashes and distance."""
    hashes = [imagehash.phash(Image.fromarray(one)) for one in small]
    pairs = [
        [i, j]
        for i in range(len(small))
        for j in range(i + 1, len(small))
        if hashes[i] - hashes[j] <= HASH_BITS
        and thumbnail_differences(small[[i]], small[[j]])[0] <= THUMBNAIL_DIFFERENCE
    ]
    return merge(pairs)


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def test_digest_sees_shape_and_pixels() -> None:
    image = picture(1, 20, 30)
    changed = image.copy()
    changed[3, 4] ^= 1
    digests = [
        pixel_digest(image),
        pixel_digest(image.copy()),
        pixel_digest(image.reshape(30, 20)),
        pixel_digest(changed),
    ]
    assert exact_groups(digests) == [[0, 1]]


@pytest.mark.parametrize(
    "copy",
    [
        jpeg,
        lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda image: (image * 0.8 + 20).astype(np.uint8),
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 5, image.shape), 0, 255).astype(
            np.uint8
        ),
    ],
    ids=["jpeg", "half size", "dimmer", "noise"],
)
def test_a_copy_saved_again_is_near(copy) -> None:  # type: ignore[no-untyped-def]
    image = picture(2, 120, 140)
    assert groups_among([image, picture(3, 120, 140), copy(image)]) == [[0, 2]]


def test_phantoms_of_different_patients_are_not_near() -> None:
    drawn = draw_phantom_split("phantom_xray", "train", image_size=64, sizes={"train": 60})
    first = {patient: index for index, patient in reversed(list(enumerate(drawn.patients)))}
    assert groups_among([drawn.images[index] for index in first.values()]) == []


def test_hash_alone_is_not_enough() -> None:
    """Equal hashes with thumbnails that differ: proposed, then turned down."""
    image = picture(4, 32, 32)
    other = image.copy()
    other[::2] = np.clip(other[::2].astype(int) + 60, 0, 255)
    hashes = np.zeros((2, 64), dtype=bool)
    assert near_groups(hashes, np.stack([image, image])) == [[0, 1]]
    assert near_groups(hashes, np.stack([image, other])) == []


def test_hashes_may_differ_in_six_bits() -> None:
    image = picture(5, 32, 32)
    hashes = np.zeros((3, 64), dtype=bool)
    hashes[1, :6] = True
    hashes[2, 57:] = True  # seven bits from the first, thirteen from the second
    assert near_groups(hashes, np.stack([image] * 3)) == [[0, 1]]


def test_groups_are_those_of_all_pairs() -> None:
    """On images in which copies are planted at all distances."""
    rng = np.random.default_rng(0)
    images = [picture(seed, 48, 48) for seed in range(25)]
    images += [np.clip(i + rng.normal(0, n, i.shape), 0, 255).astype(np.uint8) for n, i in enumerate(images)]
    small = np.stack([thumbnail(image) for image in images])
    expected = groups_pair_by_pair(small)
    assert 5 < len(expected) < 25
    assert groups_among(images) == expected


@pytest.mark.parametrize("colour", [False, True])
def test_slices_of_a_volume_are_one_group_though_its_ends_are_not_near(colour: bool) -> None:
    """Each slice is near to the next ones: a group reaches as far as the chain does."""
    rng = np.random.default_rng(1)
    first, last = (picture(seed, 32, 32).astype(float) for seed in (6, 7))
    volume = [first + (last - first) * part / 60 for part in range(60)]
    noise = rng.normal(0, 1, (60, 32, 32))
    small = np.clip(np.stack(volume) + noise, 0, 255).astype(np.uint8)[rng.permutation(60)]
    if colour:
        small = np.stack([small, small, small[..., ::-1]], axis=-1)
    expected = groups_pair_by_pair(small)
    assert groups_among(list(small)) == expected
    assert max(map(len, expected)) > 20
    members = small[max(expected, key=len)]
    assert thumbnail_differences(members[[0]], members).max() > THUMBNAIL_DIFFERENCE


def test_merge_joins_what_shares_a_member() -> None:
    assert merge([[4, 2], [7], [2, 9], [1, 3]]) == [[1, 3], [2, 4, 9], [7]]
    assert merge([[5, 6], [7, 8], [8, 5]]) == [[5, 6, 7, 8]]
