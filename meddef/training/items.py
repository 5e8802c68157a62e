"""Any ``torch.utils.data.Dataset`` of pairs (image, label), as a training reads its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from meddef.attacks.contract import check_labels, check_range
from meddef.data.images import ImageSet
from meddef.errors import InputError


class Items:
    """``labels``, int64 (N,), are read once, when it is made; images are asked for anew for every batch.

    Args:
        dataset: ``dataset[i]`` is an image, float (C, H, W) in [0, 1], and a class index, for i below ``len(dataset)``.
        name: of the argument, for errors.

    Raises:
        InputError: no length, no images, items that are no such pairs.
    """

    def __init__(self, dataset: Dataset[Any], name: str) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise InputError(
                f"{name} is a {type(dataset).__name__}: give a dataset with a length and items by number"
            )
        self.dataset, self.name, self._length = dataset, name, len(dataset)
        if not self._length:
            raise InputError(f"{name} has no images")
        labels = torch.cat([self._read(row)[1] for row in range(self._length)])
        self.labels: np.ndarray = check_labels(labels, labels, "labels").numpy()
        self.names = tuple(map(str, range(self._length)))

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), float32 in [0, 1], and labels (B,), int64, at ``indices``."""
        items = [self._read(int(row)) for row in indices]
        try:
            images = torch.stack([image for image, _ in items]).float()
        except RuntimeError as error:
            raise InputError(f"{self.name}: images differ in size: {error}") from error
        check_range(images)
        return images, torch.cat([label for _, label in items])

    def _read(self, row: int) -> tuple[Tensor, Tensor]:
        item = self.dataset[row]
        if not (isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Tensor)):
            raise InputError(f"{self.name}[{row}] must be a pair of a tensor (C, H, W) in [0, 1] and a label")
        image, label = item[0], torch.as_tensor(item[1]).reshape(-1)
        if image.ndim != 3 or not image.is_floating_point() or len(label) != 1 or label.is_floating_point():
            raise InputError(
                f"{self.name}[{row}] must be a float tensor (C, H, W) in [0, 1] and one class index, got "
                f"{image.dtype} {tuple(image.shape)} and {item[1]!r}"
            )
        return image, label.long()


def trainable(images: ImageSet | Dataset[Any], name: str) -> ImageSet | Items:
    """An image set as it is, another dataset through ``Items``."""
    return images if isinstance(images, ImageSet) else Items(images, name)
