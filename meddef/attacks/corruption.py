"""Common corruptions, a control without an attacker (Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261).

The strengths are those of ImageNet-C, from the authors' ``make_imagenet_c.py``, made for 224 x 224 pixels: radii of
blurs are in pixels, so that the same severity is stronger at 64 pixels. Of their kinds those are here that happen to
medical images: noise of the detector (gaussian_noise), few photons (shot_noise), speckle of ultrasound and OCT
(speckle_noise), dead pixels (impulse_noise), an unsharp or moved picture (gaussian_blur, defocus_blur), exposure and
window (brightness, contrast), a small or compressed copy (pixelate, jpeg). Snow, frost, fog, spatter and glass do not.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import poisson
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.randomness import Randomness, randomness
from meddef.errors import InputError

Level = float | tuple[float, float]


@for_anyone
def corruption(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    kind: str = "gaussian_noise",
    severity: int = 3,
    generator: torch.Generator | None = None,
    seed: int = 0,
) -> Tensor:
    """The images as a common fault of imaging leaves them; no worst case is looked for.

    An image whose channels are equal is grey, and stays grey: it has one noise for all of them. Nothing is rounded to 8
    bits, but by "jpeg".

    Args:
        model, labels: checked as for an attack, and not used.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        kind: one of ``KINDS``.
        severity: 1 to 5; 0 leaves the images as they are.
        generator: generator of the noise of a whole batch; None derives it from (seed, image).
        seed: see ``meddef.attacks.randomness``.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        InputError: invalid input, another kind or severity.

    >>> evaluate(model, loader, partial(corruption, kind="jpeg", severity=5)).robust_accuracy  # doctest: +SKIP
    """
    contract.check_batch(model, images, labels)
    contract.check_choice(kind, tuple(KINDS), "kind")
    if isinstance(severity, bool) or not isinstance(severity, int) or not 0 <= severity <= 5:
        raise InputError(f"severity must be a whole number from 0 to 5, got {severity!r}")
    if images.ndim != 4:
        raise InputError(f"a corruption needs images (N, C, H, W), got shape {tuple(images.shape)}")
    images = images.detach()
    if not severity or not len(images):
        return images.clone()
    change, levels = KINDS[kind]
    numbers = randomness(images, generator, seed, "corruption")
    changed = change(images.cpu().double().contiguous(), levels[severity - 1], numbers)
    return torch.empty_like(images).copy_(changed.clamp(0, 1))


def _normal(x: Tensor, numbers: Randomness) -> Tensor:
    return _shared(x, numbers.normal(*x.shape[1:]))


def _shared(x: Tensor, drawn: Tensor) -> Tensor:
    """Random numbers (N, C, H, W), the same in all channels of a grey image."""
    drawn = drawn.cpu().double()
    grey = (x == x[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    return torch.where(grey, drawn[:, :1], drawn)


def _gaussian_noise(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    return x + level * _normal(x, numbers)


def _speckle_noise(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    return x + x * level * _normal(x, numbers)


def _shot_noise(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    """A Poisson number of photons, ``level`` of them at white."""
    share = _shared(x, numbers.uniform(*x.shape[1:]))
    return torch.from_numpy(poisson.ppf(share.numpy() + 2.0**-25, x.numpy() * level)) / level


def _impulse_noise(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    """A share ``level`` of the pixels, half of them white, half of them black."""
    share = _shared(x, numbers.uniform(*x.shape[1:]))
    return torch.where(share < level / 2, 0.0, torch.where(share < level, 1.0, x))


def _gaussian_blur(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    return torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, level, level), mode="nearest"))


def _defocus_blur(x: Tensor, level: tuple[float, float], numbers: Randomness) -> Tensor:
    """A disk of a radius in pixels, its edge softened."""
    radius, soft = level
    reach = max(int(radius), 8)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (down**2 + right**2 <= radius**2).astype(np.float64)
    size = (3, 3) if radius <= 8 else (5, 5)
    kernel = cv2.GaussianBlur(disk / disk.sum(), size, sigmaX=soft)
    return _each_channel(x, lambda plane: cv2.filter2D(plane, -1, kernel))


def _brightness(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    """The value of HSV, the largest channel, raised; hue and saturation are kept."""
    value = x.amax(1, keepdim=True)
    raised = (value + level).clamp(max=1)
    return torch.where(value > 0, x * raised / value.clamp(min=1e-12), raised)


def _contrast(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * level + mean


def _pixelate(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    height, width = x.shape[2:]
    small = (max(int(width * level), 1), max(int(height * level), 1))

    def there_and_back(plane: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(plane.astype(np.float32))
        boxes = picture.resize(small, Image.Resampling.BOX)
        return np.asarray(boxes.resize((width, height), Image.Resampling.BOX))

    return _each_channel(x, there_and_back)


def _jpeg(x: Tensor, level: float, numbers: Randomness) -> Tensor:
    """Of three channels as a colour picture, of others each channel on its own."""
    pixels = (255 * x).round().byte().permute(0, 2, 3, 1).numpy()
    if x.shape[1] == 3:
        read = np.stack([_through_jpeg(picture, int(level)) for picture in pixels])
    else:
        planes = [[_through_jpeg(p[..., c].copy(), int(level)) for c in range(x.shape[1])] for p in pixels]
        read = np.stack([np.stack(one, axis=-1) for one in planes])
    return torch.from_numpy(read).permute(0, 3, 1, 2).double() / 255


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _each_channel(x: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    planes = [change(plane) for plane in x.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).double().reshape(x.shape)


KINDS: dict[str, tuple[Callable[..., Tensor], tuple[Level, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": (_impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": (_speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": (_gaussian_blur, (1, 2, 3, 4, 6)),
    "defocus_blur": (_defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
}
"""Kind -> its function and its strength at severities 1 to 5."""
