"""Deletion and insertion (Petsiuk et al. 2018, RISE, https://arxiv.org/abs/1806.07421): is saliency faithful?

Pixels are removed from the image, or restored, in order of saliency. A map faithful to the model has a low area under
the deletion curve and a high one under the insertion curve. Removed pixels are replaced by the blurred image: black or
mean pixels would add edges, to which the model would respond. The baseline uses random maps with Grad-CAM's resolution:
scattered single pixels would be another kind of damage.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.integrate import trapezoid
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from meddef.module_state import evaluating

BLUR = 0.1  # standard deviation of the blur, as a share of the image's side: removes lesions


def blurred(images: Tensor) -> Tensor:
    """``images`` (N, C, H, W) under a Gaussian whose deviation is a tenth of their shorter side; dtype is kept."""
    sigma = BLUR * min(images.shape[-2:])
    return gaussian_blur(images, kernel_size=2 * math.ceil(3 * sigma) + 1, sigma=sigma)


def probabilities(model: nn.Module, images: Tensor, classes: Tensor) -> np.ndarray:
    """Softmax probability of one class per image: images (N, C, H, W), classes (N,) -> float64 (N,).

    In evaluation mode; the modes of the model's layers are restored.
    """
    with evaluating(model), torch.no_grad():
        logits = model(images).double()
    return logits.softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()


def removal_area(
    model: nn.Module, start: Tensor, end: Tensor, heats: np.ndarray, classes: Tensor, *, steps: int
) -> np.ndarray:
    """Area under the probability of ``classes`` while ``start`` becomes ``end``, in order of saliency.

    Args:
        start, end: (N, C, H, W) in [0, 1]: image and blurred image for deletion, vice versa for insertion.
        heats: (N, H, W); ties in reading order.
        classes: (N,), the class whose probability is followed.
        steps: equal parts of the pixels; the curve has ``steps`` + 1 points.

    Returns:
        float64 (N,) in [0, 1], by the trapezoidal rule over the share of exchanged pixels.
    """
    pixels = heats[0].size
    order = np.argsort(-heats.reshape(len(heats), pixels), axis=1, kind="stable")
    rank = torch.from_numpy(np.argsort(order, axis=1)).to(start.device).reshape(-1, 1, *heats.shape[1:])
    curve = [
        probabilities(model, torch.where(rank < round(step * pixels / steps), end, start), classes)
        for step in range(steps + 1)
    ]
    return np.asarray(trapezoid(np.stack(curve), axis=0) / steps)


def removal(
    model: nn.Module, images: Tensor, heats: np.ndarray, noise: np.ndarray, classes: Tensor, *, steps: int
) -> dict[str, np.ndarray]:
    """Deletion and insertion in the order of ``heats``, and of ``noise`` as the baseline; all (N, H, W).

    Returns:
        float64 (N,) in [0, 1] each, named deletion, insertion, random (the mean of both for the noise, whose order
        and its reverse are equally likely), probability and probability_blurred (at the two ends of the curves).
    """
    gone = blurred(images)
    area = {
        (name, kind): removal_area(model, start, end, maps, classes, steps=steps)
        for kind, maps in (("map", heats), ("noise", noise))
        for name, start, end in (("deletion", images, gone), ("insertion", gone, images))
    }
    return {
        "deletion": area["deletion", "map"],
        "insertion": area["insertion", "map"],
        "random": (area["deletion", "noise"] + area["insertion", "noise"]) / 2,
        "probability": probabilities(model, images, classes),
        "probability_blurred": probabilities(model, gone, classes),
    }
