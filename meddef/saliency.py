"""Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) and what can be measured about it.

The maps come from the grad-cam package. On phantoms the lesion is known, so that "focus on the pathology" is a number.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from meddef.errors import InputError
from meddef.models import MedDef, Normalized

MAPS_KEPT = 3
MAP_SIZE = 16
BORDER = 0.1  # of the image's side: the frame in which "shortcuts" such as markers lie


def target_layer(model: nn.Module, layer: str) -> nn.Module:
    """The last block of a backbone stage ("layer1" to "layer4") of a model from ``build_model``."""
    network = model.network if isinstance(model, Normalized) else model
    backbone = network.backbone if isinstance(network, MedDef) else network
    stage = getattr(backbone, layer, None)
    if stage is None:
        raise InputError(f"the model has no layer '{layer}': use layer1, layer2, layer3 or layer4")
    return stage[-1]


def grad_cam(model: nn.Module, images: torch.Tensor, *, layer: str) -> np.ndarray:
    """Grad-CAM for each image's most likely class: images (N, 3, H, W) in [0, 1] -> float32 (N, H, W) in [0, 1].

    The model's mode and parameters' gradients are left as they were found.
    """
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError as error:
        raise InputError("Grad-CAM needs the package grad-cam: pip install 'meddef[book]'") from error

    training = model.training
    gradients = [parameter.grad for parameter in model.parameters()]
    with GradCAM(model, [target_layer(model, layer)]) as cam:
        maps = cam(input_tensor=images, targets=None)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    model.train(training)
    return maps


def energy_in(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's total in ``mask`` (both (H, W)); the mask's area share would be chance. NaN: no heat."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float("nan")


def pointing_hit(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the map's maximum lies in ``mask`` (the pointing game, Zhang et al. 2016)."""
    return bool(mask.flat[int(heat.argmax())])


def border_mask(size: int) -> np.ndarray:
    """The outer tenth of a square image on every side, bool (size, size)."""
    width = max(1, round(BORDER * size))
    mask = np.ones((size, size), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def lesion_order(labels: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Indices of the images that show a lesion, classes in turn, so that the first few show one of each."""
    indices = np.flatnonzero(masks.any(axis=(1, 2)))
    rank = np.zeros(len(indices), dtype=int)
    for label in np.unique(labels[indices]):
        members = labels[indices] == label
        rank[members] = np.arange(members.sum())
    return indices[np.lexsort((labels[indices], rank))]


def measure_saliency(
    model: nn.Module, images: torch.Tensor, labels: np.ndarray, masks: np.ndarray, *, count: int, layer: str
) -> list[dict[str, Any]]:
    """Grad-CAM of the first ``count`` images with a lesion, and how much of it lies where.

    Args:
        images: (N, 3, H, H) float in [0, 1]; labels: (N,); masks: (N, H, H) bool, where the lesion is.

    Returns:
        One row an image: index, label, prediction, energy_in_lesion, lesion_share (chance), pointing_hit, border_share,
        and for the first three the map itself, area-averaged to 16 x 16.
    """
    chosen = lesion_order(labels, masks)[:count]
    if len(chosen) == 0:
        raise InputError("no image shows a lesion: saliency needs images with a known lesion")
    heats = grad_cam(model, images[chosen], layer=layer)
    with torch.no_grad():
        predictions = model(images[chosen]).argmax(1).tolist()
    border = border_mask(images.shape[-1])
    rows = []
    for position, (index, heat, prediction) in enumerate(zip(chosen, heats, predictions, strict=True)):
        mask = masks[index]
        row: dict[str, Any] = {
            "index": int(index),
            "label": int(labels[index]),
            "prediction": prediction,
            "energy_in_lesion": energy_in(heat, mask),
            "lesion_share": float(mask.mean()),
            "pointing_hit": pointing_hit(heat, mask),
            "border_share": energy_in(heat, border),
        }
        if position < MAPS_KEPT:
            small = cv2.resize(heat, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
            row["map"] = np.round(small.astype(float), 3).tolist()
        rows.append(row)
    return rows
