"""JPEG compression in front of the classifier (Das et al. 2018, "Shield", https://arxiv.org/abs/1802.06816)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.defenses.base import Preprocessed
from meddef.errors import InputError

LUMINANCE = (  # steps of quantization at quality 50 (ISO/IEC 10918-1, table K.1), by vertical frequency
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


class Jpeg(Preprocessed):
    """Images are encoded as JPEG of ``quality`` and decoded by OpenCV's codec: 8 bits, one or three channels, always on
    the CPU.

    A codec has no gradient. The adaptive attacker's goes through the cosine transform of each 8 x 8 block, where JPEG
    rounds, and is divided there by the rounding step: coarsely rounded frequencies are of little use. (For 32 chest
    X-rays and a clean ResNet18, ε = 8/255, 40 steps, accuracy was 16 %, with the identity 25 %.)

    Raises:
        InputError: ``quality`` is not a whole number from 1 to 100; images with neither one nor three channels.
    """

    def __init__(self, classifier: nn.Module, *, quality: int = 75) -> None:
        super().__init__(classifier)
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise InputError(f"quality must be a whole number from 1 to 100, got {quality!r}")
        self.quality = quality
        steps = quantization(quality)
        self.register_buffer("weights", steps.min() / steps)
        self.register_buffer("cosines", _cosines())

    def transform(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(f"JPEG holds one or three channels, got images {tuple(images.shape)}")
        pixels = (255 * images).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        read = np.stack([self._through(image) for image in pixels])
        return torch.empty_like(images).copy_(torch.from_numpy(read).permute(0, 3, 1, 2) / 255)

    def back(self, gradient: Tensor) -> Tensor:
        n, channels, height, width = gradient.shape
        padded = F.pad(gradient, (0, -width % 8, 0, -height % 8))
        blocks = padded.reshape(n, channels, padded.shape[2] // 8, 8, -1, 8).transpose(3, 4)
        cosines, weights = (self.get_buffer(name).to(gradient) for name in ("cosines", "weights"))
        blocks = cosines.T @ (cosines @ blocks @ cosines.T * weights) @ cosines
        return blocks.transpose(3, 4).reshape(padded.shape)[..., :height, :width]

    def _through(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 1 or 3) to the same. OpenCV takes the last channel for red, which JPEG weighs by its colour."""
        _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        read = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
        assert read is not None
        return read.reshape(image.shape)[..., ::-1]


def quantization(quality: int) -> Tensor:
    """The step to which each frequency of a block is rounded, float32 (8, 8): the standard's table, libjpeg's scale."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(LUMINANCE) * scale + 50) // 100).clamp(1, 255).float()


def _cosines() -> Tensor:
    """The orthonormal cosine transform, float32 (8, 8): row k is frequency k."""
    k, x = torch.arange(8.0)[:, None], torch.arange(8.0)
    rows = torch.cos((2 * x + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows
