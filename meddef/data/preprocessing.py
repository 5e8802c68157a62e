"""The paper's preprocessing (section "Preprocessing"), each step a pure function on uint8 images, grey or RGB.

The paper names the steps and few parameters: 224 x 224 with aspect-preserving padding, three
channels, min-max scaling, CLAHE and brightness for retinal OCT, denoising for chest X-rays. Open choices are defaults
here and parameters of ``Preprocessing``. Three channels are made in ``ImageSet``; standardisation is in the model.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from meddef.image_size import Size, sides

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Denoise(_Settings):
    """``strength``: filter strength h (nl_means), odd kernel size (median), range sigma in grey levels (bilateral)."""

    method: Literal["nl_means", "median", "bilateral"]
    strength: Positive

    @model_validator(mode="after")
    def _median_kernel_is_odd(self) -> Denoise:
        if self.method == "median" and (self.strength % 2 != 1 or self.strength < 3):
            raise ValueError(f"median needs an odd kernel size of at least 3, not {self.strength:g}")
        return self


class Clahe(_Settings):
    """Contrast-limited adaptive histogram equalisation over ``tiles`` x ``tiles`` regions."""

    clip_limit: Positive = 2.0
    tiles: Annotated[int, Field(ge=1)] = 8


class Preprocessing(_Settings):
    """The steps in the order in which they are applied; None or False leaves a step out."""

    resize: Literal["area"] = "area"
    pad: bool = True
    denoise: Denoise | None = None
    min_max: bool = True
    clahe: Clahe | None = None
    brightness: Positive | None = None

    def apply(self, image: np.ndarray, size: Size) -> np.ndarray:
        """A uint8 image (H, W) or (H, W, 3) as one of ``size``, a side or height and width."""
        image = resize_area(image, size, keep_aspect=self.pad)
        image = pad(image, size)
        if self.denoise is not None:
            image = denoise(image, self.denoise.method, self.denoise.strength)
        if self.min_max:
            image = min_max(image)
        if self.clahe is not None:
            image = equalise(image, self.clahe.clip_limit, self.clahe.tiles)
        if self.brightness is not None:
            image = brighten(image, self.brightness)
        return image


def resize_area(image: np.ndarray, size: Size, *, keep_aspect: bool) -> np.ndarray:
    """Scale by area averaging until one side is as ``size`` says and the other no longer; without ``keep_aspect``
    until both are."""
    height, width = image.shape[:2]
    high, wide = sides(size)
    scale = min(high / height, wide / width)
    target = (max(1, round(width * scale)), max(1, round(height * scale))) if keep_aspect else (wide, high)
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA)


def pad(image: np.ndarray, size: Size) -> np.ndarray:
    """Centre the image on black of ``size`` pixels."""
    height, width = image.shape[:2]
    high, wide = sides(size)
    top, left = (high - height) // 2, (wide - width) // 2
    bottom, right = high - height - top, wide - width - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)


def denoise(image: np.ndarray, method: str, strength: float) -> np.ndarray:
    """Smooth noise and keep edges. Non-local means compares 5 x 5 patches within 11 x 11 windows.

    The bilateral filter alone depends on OpenCV, by one grey level: 4.9 and 4.10 differ from 4.14 and 5.0 in one image
    of twelve, and a build without Intel's IPP (not for x86) from one with it in every image.
    """
    if method == "nl_means":
        return cv2.fastNlMeansDenoising(image, None, strength, 5, 11)
    if method == "median":
        return cv2.medianBlur(image, int(strength))
    return cv2.bilateralFilter(image, 5, strength, 2)


def min_max(image: np.ndarray) -> np.ndarray:
    """Stretch the values to 0..255, of all channels alike; a constant image stays as it is."""
    low, high = int(image.min()), int(image.max())
    if low == high:
        return image
    return np.rint((image.astype(np.float32) - low) * (255 / (high - low))).astype(np.uint8)


def equalise(image: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """CLAHE: equalise the histogram of each tile, limited to ``clip_limit`` times the mean bin; of RGB that of luma."""
    if image.ndim == 3:
        layers = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
        layers[..., 0] = equalise(layers[..., 0], clip_limit, tiles)
        return cv2.cvtColor(layers, cv2.COLOR_YCrCb2RGB)
    return cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles)).apply(image)


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the values by ``factor`` and clip at 255."""
    return np.rint(np.minimum(image.astype(np.float32) * factor, 255)).astype(np.uint8)
