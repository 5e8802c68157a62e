"""A set of grey images with labels, served to the model as three equal channels in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True, eq=False)
class ImageSet(Dataset[tuple[Tensor, int]]):
    """Images with their labels, file names and patient ids, in one order.

    ``images`` is uint8 (N, H, W), an array or a read-only memory map; ``labels`` int64 (N,). A single item is
    a float32 tensor (3, H, W) in [0, 1] (the grey value / 255, repeated) and an int.

    Raises ``ValueError`` when the four parts differ in length or the arrays have another shape or dtype.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (N, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise ValueError(
                f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}"
            )
        if not len(self.names) == len(self.patients) == len(self.images):
            raise ValueError(
                f"{len(self.images)} images, {len(self.names)} names, {len(self.patients)} patients: must be equal"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), float32 in [0, 1], and labels (B,), int64, at ``indices``; both are fresh copies."""
        rows = np.asarray(indices, dtype=np.int64)
        grey = torch.from_numpy(np.asarray(self.images)[rows]).to(torch.float32).div_(255)
        return grey.unsqueeze(1).repeat(1, 3, 1, 1), torch.from_numpy(self.labels[rows])
