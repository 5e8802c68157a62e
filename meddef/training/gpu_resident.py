"""Training images kept on the GPU as bytes (a quarter of float32), to avoid transfers per batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from meddef.data.images import ImageSet, as_channels
from meddef.training.items import Items

logger = logging.getLogger(__name__)

SHARE = 0.25
"""Of the free memory of a GPU, at most, for the images of one set."""


class Resident:
    """An ``ImageSet`` with images and labels on a device; batches are bit-identical."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self.labels, self.device = images.labels, device
        self._pixels, self._channels = torch.from_numpy(np.array(images.images)).to(device), images.channels
        self._classes = torch.from_numpy(images.labels).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), float32 in [0, 1], and labels (B,), int64, on the device; fresh copies."""
        rows = torch.as_tensor(indices, dtype=torch.int64).to(self.device, non_blocking=True)
        return as_channels(self._pixels[rows], self._channels), self._classes[rows]


def resident(images: ImageSet | Items, device: torch.device) -> ImageSet | Items | Resident:
    """The images on a GPU if they fit; on a CPU, or if they do not, as they are; so are those of another dataset."""
    if device.type != "cuda" or isinstance(images, Items):
        return images
    free, _ = torch.cuda.mem_get_info(device)
    if images.images.nbytes > SHARE * free:
        logger.info(
            "images stay in main memory: they need %d bytes, the GPU has %d free", images.images.nbytes, free
        )
        return images
    return Resident(images, device)
