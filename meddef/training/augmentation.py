"""Augmentation of training images, by a setting whose default is none.

The paper (Section III-B1) speaks of "various data augmentation techniques" and names none. Each technique draws only
from the given generator; without a technique no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from meddef.settings import Augmentation

SHIFT_DIVISOR = 16  # a shift is at most this part of the side: 4 of 64 pixels, 14 of 224


def horizontal_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image with probability 1/2. On a chest X-ray this moves the heart to the other side."""
    flip = (torch.rand(len(images), generator=generator) < 0.5).to(images.device, non_blocking=True)
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moves by whole pixels, up or down and left or right, by at most a sixteenth of its side.

    All shifts are equally likely; vacated pixels repeat the edge.
    """
    height, width = images.shape[-2:]
    most_y, most_x = height // SHIFT_DIVISOR, width // SHIFT_DIVISOR
    top = torch.randint(2 * most_y + 1, (len(images),), generator=generator).tolist()
    left = torch.randint(2 * most_x + 1, (len(images),), generator=generator).tolist()
    wide = F.pad(images, (most_x, most_x, most_y, most_y), mode="replicate")
    moved = [image[:, y : y + height, x : x + width] for image, y, x in zip(wide, top, left, strict=True)]
    return torch.stack(moved) if moved else images


def noise(images: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
    """Gaussian noise of standard deviation ``sigma`` on every pixel, clipped to [0, 1], as in training a classifier to
    be smoothed (Cohen et al. 2019; see ``meddef.defenses.smoothing``)."""
    drawn = torch.randn(images.shape, generator=generator).to(images, non_blocking=True)
    return (images + sigma * drawn).clamp(0, 1)


TECHNIQUES: dict[Augmentation, Callable[[Tensor, torch.Generator], Tensor]] = {
    "horizontal_flip": horizontal_flip,
    "translate": translate,
    "noise_12": partial(noise, sigma=0.12),
    "noise_25": partial(noise, sigma=0.25),
}


def augment(images: Tensor, names: Collection[Augmentation], generator: torch.Generator) -> Tensor:
    """``images`` (N, C, H, W), float in [0, 1] on any device, after the techniques ``names``, in the order of
    ``TECHNIQUES``; the images themselves if there are none. Shape, dtype and range stay; the input is not changed."""
    for name, change in TECHNIQUES.items():
        if name in names:
            images = change(images, generator)
    return images
