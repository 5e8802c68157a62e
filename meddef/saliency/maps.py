"""Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391), and its mean over the images of a class."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from meddef.as_found import evaluating
from meddef.errors import InputError
from meddef.models import Normalized

STRIDES = {
    "layer1": 4,
    "layer2": 8,
    "layer3": 16,
    "layer4": 32,
}  # pixels of the image a position of the stage
MAP_SIZE = 16
LEAST_IMAGES = 5  # in a mean, so that it shows no single one


def target_layer(model: nn.Module, layer: str) -> nn.Module:
    """The last block of a backbone stage ("layer1" to "layer4") of a model from ``build_model``."""
    network = model.network if isinstance(model, Normalized) else model
    backbone = getattr(network, "backbone", network)
    stage = getattr(backbone, layer, None)
    if stage is None:
        raise InputError(f"the model has no layer '{layer}': use {', '.join(STRIDES)}")
    return stage[-1]


def grad_cam(model: nn.Module, images: torch.Tensor, *, layer: str) -> np.ndarray:
    """Grad-CAM for each image's most likely class: images (N, 3, H, W) in [0, 1] -> float32 (N, H, W) in [0, 1].

    The modes of the model's layers and its parameters' gradients are left as they were found, also after an error.
    """
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError as error:
        raise InputError("Grad-CAM needs the package grad-cam: pip install 'meddef[book]'") from error

    with evaluating(model):
        cam = GradCAM(model, [target_layer(model, layer)])
        try:  # its own "with" takes an IndexError of the model for its end
            maps: np.ndarray = cam(input_tensor=images, targets=None)
        finally:
            cam.activations_and_grads.release()
    return maps


def random_maps(count: int, size: int, *, layer: str, seed: int) -> np.ndarray:
    """Noise as coarse as the maps of ``layer`` and enlarged in the same way: float32 (count, size, size) in [0, 1]."""
    side = max(2, math.ceil(size / STRIDES[layer]))
    noise = np.random.default_rng(seed).random((count, side, side), dtype=np.float32)
    return np.stack([cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR) for grid in noise])


def small(heat: np.ndarray) -> list[list[float]]:
    """A map (H, W), area-averaged to 16 x 16 and rounded to thousandths, as records keep it."""
    averaged = cv2.resize(heat, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    return np.round(averaged.astype(float), 3).tolist()


def class_means(heats: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The mean map of each class that has at least five images; of fewer it could show a single image.

    Args:
        heats: (N, H, W) in [0, 1], of which maps without heat count as they are; labels: (N,), the true classes.

    Returns:
        One row a class: label, n, and the mean as ``small`` gives it.
    """
    counts = {int(label): int((labels == label).sum()) for label in np.unique(labels)}
    return [
        {"label": label, "n": n, "map": small(heats[labels == label].mean(axis=0))}
        for label, n in counts.items()
        if n >= LEAST_IMAGES
    ]
