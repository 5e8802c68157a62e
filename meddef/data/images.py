"""A set of images with labels, served to the model as one or three channels in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from meddef.data.depth import through


@dataclass(frozen=True, eq=False)
class ImageSet(Dataset[tuple[Tensor, int]]):
    """Images with their labels, file names and patient ids, in one order.

    ``images`` is uint8 (N, H, W) for grey or (N, H, W, 3) for RGB, an array or a read-only memory map; ``labels`` int64
    (N,). A single item is a float32 tensor (C, H, W) in [0, 1] (the value / 255) and an int, where C is ``channels``: 3
    repeats a grey value, 1 leaves it as it is. ``from_arrays`` takes other arrays.

    Raises ``ValueError`` when the four parts differ in length or the arrays have another shape or dtype.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    patients: tuple[str, ...]
    channels: int = 3

    def __post_init__(self) -> None:
        colour = self.images.ndim == 4 and self.images.shape[3] == 3
        if not (colour or self.images.ndim == 3) or self.images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 (N, H, W) or (N, H, W, 3), not {self.images.dtype} {self.images.shape}: "
                "ImageSet.from_arrays takes others"
            )
        if self.channels not in ((3,) if colour else (1, 3)):
            raise ValueError(f"channels must be 3, or 1 for grey images, not {self.channels}")
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise ValueError(
                f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}"
            )
        if not len(self.names) == len(self.patients) == len(self.images):
            raise ValueError(
                f"{len(self.images)} images, {len(self.names)} names, {len(self.patients)} patients: must be equal"
            )

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        *,
        window: tuple[float, float] | None = None,
        names: Sequence[str] | None = None,
        patients: Sequence[str] | None = None,
        channels: int = 3,
    ) -> ImageSet:
        """NumPy arrays as an image set, at the size that they have.

        Args:
            images: (N, H, W), (N, H, W, 1) or (N, H, W, 3), uint8 or any real numbers.
            labels: N class indices.
            window: the values that become black and white; needed where ``images`` is not uint8, (0, 1) for floats in
                [0, 1]. What lies beyond is clipped.
            names, patients: of each image; else its number, and each image a patient of its own.
            channels: 1 or 3, as the model takes them.

        Raises:
            ValueError: another shape, NaN, no window where one is needed, labels that are no class indices.
        """
        images, found = np.asarray(images), np.asarray(labels)
        if images.ndim == 4 and images.shape[3] == 1:
            images = images[..., 0]
        if not np.issubdtype(found.dtype, np.integer) or (found.size and found.min() < 0):
            raise ValueError(f"labels must be class indices from 0, not {found.dtype}")
        if window is not None:
            images = _through(images, *window)
        elif images.dtype != np.uint8:
            raise ValueError(
                f"images of {images.dtype} need window=(low, high), the values that become black and white: "
                "(0, 1) for floats in [0, 1]"
            )
        numbers = tuple(map(str, range(len(images)))) if names is None else tuple(names)
        return cls(
            images,
            found.astype(np.int64),
            numbers,
            numbers if patients is None else tuple(patients),
            channels,
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), float32 in [0, 1], and labels (B,), int64, at ``indices``; both are fresh copies."""
        rows = np.asarray(indices)
        if rows.dtype == bool and rows.shape == self.labels.shape:
            rows = np.flatnonzero(rows)
        if rows.size and not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(
                f"indices must be whole numbers, or a mask {self.labels.shape}, not {rows.dtype} {rows.shape}"
            )
        rows = rows.astype(np.int64)
        pixels = torch.from_numpy(np.asarray(self.images)[rows])
        return as_channels(pixels, self.channels), torch.from_numpy(self.labels[rows])


def as_channels(pixels: Tensor, channels: int) -> Tensor:
    """uint8 (B, H, W) or (B, H, W, 3) as float32 (B, ``channels``, H, W) in [0, 1], a fresh copy."""
    values = pixels.to(torch.float32).div_(255)
    if values.ndim == 4:
        return values.permute(0, 3, 1, 2).contiguous()
    return values.unsqueeze(1).repeat(1, channels, 1, 1)


def _through(images: np.ndarray, low: float, high: float) -> np.ndarray:
    if not high > low:
        raise ValueError(f"window must be (low, high) with low < high, not ({low}, {high})")
    if not np.isfinite(images).all():
        raise ValueError("images hold NaN or infinity")
    return through(images.astype(np.float64), (low, high))
