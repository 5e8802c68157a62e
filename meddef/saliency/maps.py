"""Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391), and its mean over the images of a class."""

from __future__ import annotations

import math
from collections import Counter
from difflib import get_close_matches
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from meddef.attacks import contract
from meddef.errors import InputError
from meddef.image_size import Size, sides
from meddef.models import Normalized
from meddef.module_state import evaluating

STRIDES = {
    "layer1": 4,
    "layer2": 8,
    "layer3": 16,
    "layer4": 32,
}  # pixels of the image a position of the stage
MAP_SIZE = 16
LEAST_POSITIONS = 4  # on a side of the maps of a layer that is chosen
LEAST_IMAGES = 5  # in a mean, so that it shows no single image


def target_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The layer of a name: the last block of a backbone's stage ("layer1" to "layer4") of a model from ``build_model``
    or a ResNet, else the module of that path, such as "features.12"; a module of the model is itself.

    Raises:
        InputError: the model has no such layer; the message names some that exist.
    """
    if isinstance(layer, nn.Module):
        if not any(layer is module for module in model.modules()):
            raise InputError("the layer is not a module of the model")
        return layer
    network = model.network if isinstance(model, Normalized) else model
    backbone = getattr(network, "backbone", network)
    stage = getattr(backbone, layer, None) if layer in STRIDES else None
    if isinstance(stage, nn.Sequential):
        return stage[-1]
    modules = dict(model.named_modules())
    if layer not in modules or layer == "":
        maps = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
        known = [name for name in STRIDES if hasattr(backbone, name)] or maps[-4:] or list(modules)[1:5]
        near = [name for name in get_close_matches(layer, list(modules), 3, 0.8) if name not in known]
        also = f"; near that: {', '.join(near)}" if near else ""
        raise InputError(f"the model has no layer '{layer}': use {', '.join(known)}{also}")
    return modules[layer]


def default_layer(model: nn.Module, image: torch.Tensor) -> tuple[str, str]:
    """A layer for Grad-CAM of a model, and why: "layer3" where it has the stages of a ResNet, as in the book, else the
    last convolution whose maps have at least four positions on a side.

    Args:
        image: (1, C, H, W) in [0, 1].

    Raises:
        InputError: no convolution gives such maps.
    """
    network = model.network if isinstance(model, Normalized) else model
    if isinstance(getattr(getattr(network, "backbone", network), "layer3", None), nn.Sequential):
        return "layer3", "the third stage"
    seen: list[tuple[str, tuple[int, ...]]] = []
    handles = [
        module.register_forward_hook(
            lambda _module, _given, output, name=name: seen.append((name, tuple(output.shape)))
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(image.clone())
    finally:
        for handle in handles:
            handle.remove()
    runs = Counter(name for name, _ in seen)
    fine = [
        (name, shape)
        for name, shape in seen
        if runs[name] == 1 and len(shape) == 4 and min(shape[2:]) >= LEAST_POSITIONS
    ]
    if not fine:
        raise InputError(
            f"no convolution of the model gives maps of {LEAST_POSITIONS} x {LEAST_POSITIONS} positions: give --layer"
        )
    name, shape = fine[-1]
    return name, f"the last convolution with maps of {shape[2]} x {shape[3]}"


def grad_cam(
    model: nn.Module,
    images: torch.Tensor,
    *,
    layer: str | nn.Module,
    targets: torch.Tensor | int | None = None,
) -> np.ndarray:
    """Grad-CAM of a class score: images (N, C, H, W) in [0, 1] -> float32 (N, H, W) in [0, 1].

    grad-cam subtracts each map's minimum after the ReLU: uniform saliency counts as none, also in the shares measured
    here.

    It works for frozen models and under ``torch.no_grad()``. The modes of the model's layers and its parameters'
    gradients are restored, also after an error.

    Args:
        model: returns logits (N, K).
        layer: see ``target_layer``; its output must be maps (N, C', h, w).
        targets: (N,), or one for all, the class whose score is explained; None for each image's most likely class.

    Raises:
        InputError: grad-cam is not installed, no images in [0, 1], no such layer, a layer without maps or one that runs
            several times, as the one ReLU of a torchvision block does, a scripted model, a class out of range.
    """
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise InputError("Grad-CAM needs the package grad-cam: pip install 'meddef[saliency]'") from error

    contract.check_batch(model, images, torch.zeros(len(images), dtype=torch.int64))
    chosen = target_layer(model, layer)
    if isinstance(chosen, torch.jit.ScriptModule):
        raise InputError("the model is scripted, and its layers cannot be inspected: give it unscripted")
    if not len(images):
        return np.zeros((0, *images.shape[2:]), np.float32)
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone()  # a model may write into its input
        logits, seen = _seen(model, chosen, images[:1].clone())
        if seen.ndim != 4:
            raise InputError(
                f"the layer gives {tuple(seen.shape)}, and Grad-CAM needs maps (N, C, h, w): take another"
            )
        wanted = (
            None
            if targets is None
            else [ClassifierOutputTarget(t) for t in _classes(targets, images, logits)]
        )
        if not seen.requires_grad:  # frozen up to here: the gradient path starts at the images
            images = images.requires_grad_()
        cam = GradCAM(model, [chosen])
        # Behind grad-cam's own: what comes next may write into the layer's output (ReLU(inplace=True), x += y).
        handle = chosen.register_forward_hook(lambda _module, _given, output: output.clone())
        try:  # its context manager swallows an IndexError of the model
            maps: np.ndarray = cam(input_tensor=images, targets=wanted)
        finally:
            handle.remove()
            cam.activations_and_grads.release()
    return maps


def _seen(model: nn.Module, layer: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of one image, and what the layer gives for it."""
    found: list[Any] = []
    handle = layer.register_forward_hook(lambda _module, _given, output: found.append(output))
    try:
        logits = model(image)
    finally:
        handle.remove()
    if not found or not isinstance(found[-1], torch.Tensor):
        raise InputError("the layer is not run as a module, or gives no tensor: take another")
    if len(found) > 1:
        raise InputError(
            f"the layer runs {len(found)} times for one image, and one map cannot show all: take the block around it"
        )
    return logits, found[-1]


def _classes(targets: torch.Tensor | int, images: torch.Tensor, logits: torch.Tensor) -> list[int]:
    known = (
        [targets] * len(images) if isinstance(targets, int) else torch.as_tensor(targets).flatten().tolist()
    )
    if len(known) != len(images) or not all(isinstance(t, int) and 0 <= t < logits.shape[-1] for t in known):
        raise InputError(
            f"targets must be {len(images)} class indices below {logits.shape[-1]}, got {known[:5]}"
        )
    return known


def random_maps(count: int, size: Size, *, layer: str, seed: int) -> np.ndarray:
    """Noise with the resolution of the maps of ``layer``, upsampled in the same way: float32 (count, H, W) in [0,
    1]."""
    height, width = sides(size)
    coarse = [max(2, math.ceil(side / STRIDES[layer])) for side in (height, width)]
    noise = np.random.default_rng(seed).random((count, *coarse), dtype=np.float32)
    return np.stack([cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR) for grid in noise])


def small(heat: np.ndarray) -> list[list[float]]:
    """A map (H, W), area-averaged to 16 x 16 and rounded to three decimals, as stored in records."""
    averaged = cv2.resize(heat, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    return np.round(averaged.astype(float), 3).tolist()


def class_means(heats: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The mean map of each class with at least five images; of fewer it could reveal a single image.

    Args:
        heats: (N, H, W) in [0, 1], zero maps included; labels: (N,), the true classes.

    Returns:
        One row per class, with label, n, and the mean as ``small`` gives it.
    """
    counts = {int(label): int((labels == label).sum()) for label in np.unique(labels)}
    return [
        {"label": label, "n": n, "map": small(heats[labels == label].mean(axis=0))}
        for label, n in counts.items()
        if n >= LEAST_IMAGES
    ]
