"""JPEG compression in front of the classifier (Das et al. 2018, "Shield", https://arxiv.org/abs/1802.06816)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from meddef.defenses.base import Preprocessed
from meddef.errors import InputError


class Jpeg(Preprocessed):
    """Images are written as JPEG files of ``quality`` and read again, by OpenCV's codec: 8 bits, one or three channels,
    on the processor, wherever the images are. A codec has no gradient.

    Raises:
        InputError: ``quality`` is no whole number from 1 to 100; images that have neither one nor three channels.
    """

    def __init__(self, classifier: nn.Module, *, quality: int = 75) -> None:
        super().__init__(classifier)
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise InputError(f"quality must be a whole number from 1 to 100, got {quality!r}")
        self.quality = quality

    def transform(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(f"JPEG holds one or three channels, got images {tuple(images.shape)}")
        pixels = (255 * images).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        read = np.stack([self._through(image) for image in pixels])
        return torch.empty_like(images).copy_(torch.from_numpy(read).permute(0, 3, 1, 2) / 255)

    def _through(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 1 or 3) to the same. OpenCV takes the last channel for red, which JPEG weighs by its colour."""
        _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        read = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
        assert read is not None
        return read.reshape(image.shape)[..., ::-1]
