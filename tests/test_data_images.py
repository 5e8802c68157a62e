"""``ImageSet``: batches and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_folders import picture

from meddef.data import ImageSet


def test_batch_equals_single_items() -> None:
    names = tuple("abcd")
    images = np.stack([picture(seed, 32, 32) for seed in range(4)])
    train = ImageSet(images, np.array([0, 1, 1, 0]), names, names)
    images, labels = train.batch(torch.tensor([3, 0, 3]))
    assert (images.shape, images.dtype, labels.dtype) == ((3, 3, 32, 32), torch.float32, torch.int64)
    assert torch.equal(images[1], train[0][0])
    assert torch.equal(images[0], images[2])
    assert 0 <= images.min() < images.max() <= 1
    assert images.is_contiguous()  # channels of their own: one can be changed in place
    images.zero_()  # a copy: the set is not changed
    assert train[0][0].max() > 0


def test_image_set_refuses_what_does_not_fit() -> None:
    images, labels = np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="images must be uint8"):
        ImageSet(images.astype(np.float32), labels, ("a", "b"), ("a", "b"))
    with pytest.raises(ValueError, match=r"labels must be int64 \(2,\)"):
        ImageSet(images, labels[:1], ("a", "b"), ("a", "b"))
    with pytest.raises(ValueError, match="2 images, 1 names, 2 patients"):
        ImageSet(images, labels, ("a",), ("a", "b"))


def test_a_mask_selects() -> None:
    """As in NumPy: not the images 0 and 1."""
    part = ImageSet.from_arrays(np.arange(48, dtype=np.uint8).reshape(3, 4, 4), [5, 6, 7])
    images, labels = part.batch(np.array([False, True, True]))
    assert labels.tolist() == [6, 7]
    assert np.array_equal(images, part.batch([1, 2])[0])
    assert len(part.batch([])[0]) == 0
    for wrong in ([True, False], [0.9, 1.9]):
        with pytest.raises(ValueError, match="indices must be whole numbers, or a mask"):
            part.batch(np.array(wrong))
