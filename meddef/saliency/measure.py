"""The record of one model's maps: one row of numbers per image, and one mean map per class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks.gradient import pgd
from meddef.attacks.options import with_step_size
from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.module_state import evaluating
from meddef.saliency.agreement import rank_correlation, top_overlap
from meddef.saliency.maps import class_means, grad_cam, random_maps, small
from meddef.saliency.place import border_mask, energy_in, pointing_hit
from meddef.saliency.removal import removal
from meddef.settings import SaliencySettings

MAPS_KEPT = 3
DECIMALS = 6
ORDER_SEED = 0
NOISE_SEED = 0
Row = dict[str, Any]


def in_turn(labels: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """``candidates`` (indices into ``labels``), classes in turn, so that the first few cover all classes."""
    rank = np.zeros(len(candidates), dtype=int)
    for label in np.unique(labels[candidates]):
        members = labels[candidates] == label
        rank[members] = np.arange(members.sum())
    return candidates[np.lexsort((labels[candidates], rank))]


def measure_saliency(
    model: nn.Module,
    test: ImageSet,
    masks: np.ndarray | None,
    settings: SaliencySettings,
    *,
    device: str = "cpu",
    keep_maps: bool = False,
) -> dict[str, list[Row]]:
    """Grad-CAM of some images of ``test`` and its measures, in evaluation mode.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K); the mode of every layer is restored.
        test: of which the first ``settings.images`` with a lesion are measured, classes in turn; where no lesion is
            known, the first of a seeded order. Of the latter are the mean maps too.
        masks: (N, H, W) bool, where the lesion is; None if unknown.
        keep_maps: keep the maps of the first three images. Only for phantoms: a map reveals its image.

    Returns:
        "class_maps", as ``class_means`` gives them, and "images", one row per image with index, label, prediction;
        energy_in_lesion, lesion_share (chance), pointing_hit (None without masks), border_share; what ``removal`` gives
        for the predicted class; attacked_prediction, and correlation and overlap of its map with that of the image
        under PGD; other_correlation and other_overlap with that of the next image, the control; map, where kept.

    Raises:
        InputError: masks that show no lesion, or a layer that the model lacks.
    """
    shuffled = np.random.default_rng(ORDER_SEED).permutation(len(test))
    averaged = measured = in_turn(test.labels, shuffled)[: settings.images]
    if masks is not None:
        measured = in_turn(test.labels, np.flatnonzero(masks.any(axis=(1, 2))))[: settings.images]
        if len(measured) == 0:
            raise InputError("no image shows a lesion: saliency with masks needs images with a known lesion")
    images, labels = (part.to(device) for part in test.batch(measured))
    heats = grad_cam(model, images, layer=settings.layer)
    rows: list[Row] = [{"index": int(index), "label": int(test.labels[index])} for index in measured]
    places = _places(heats, None if masks is None else masks[measured])
    answers = _answers(model, images, heats, settings)
    attacked = _under_attack(model, images, labels, heats, settings)
    for row, place, answer, after in zip(rows, places, answers, attacked, strict=True):
        row.update(place | answer | after)
    for row, heat in zip(rows[: MAPS_KEPT * keep_maps], heats, strict=False):
        row["map"] = small(heat)
    if masks is not None:
        heats = grad_cam(model, test.batch(averaged)[0].to(device), layer=settings.layer)
    return {"images": rows, "class_maps": class_means(heats, test.labels[averaged])}


def _places(heats: np.ndarray, masks: np.ndarray | None) -> list[Row]:
    border = border_mask(heats.shape[1:])
    return [
        {
            "energy_in_lesion": None if mask is None else energy_in(heat, mask),
            "lesion_share": None if mask is None else float(mask.mean()),
            "pointing_hit": None if mask is None else pointing_hit(heat, mask),
            "border_share": energy_in(heat, border),
        }
        for heat, mask in zip(heats, [None] * len(heats) if masks is None else masks, strict=True)
    ]


def _answers(model: nn.Module, images: Tensor, heats: np.ndarray, settings: SaliencySettings) -> list[Row]:
    predictions = _predictions(model, images)
    noise = random_maps(len(heats), heats.shape[1:], layer=settings.layer, seed=NOISE_SEED)
    areas = removal(model, images, heats, noise, predictions, steps=settings.removal_steps)
    return [
        {"prediction": int(prediction)} | {name: _rounded(areas[name][i]) for name in areas}
        for i, prediction in enumerate(predictions)
    ]


def _under_attack(
    model: nn.Module, images: Tensor, labels: Tensor, heats: np.ndarray, settings: SaliencySettings
) -> list[Row]:
    attack = with_step_size("pgd", settings.pgd.model_dump(), settings.pgd.eps)
    attacked = pgd(model, images, labels, **attack)
    moved = grad_cam(model, attacked, layer=settings.layer)
    others = np.roll(heats, -1, axis=0) if len(heats) > 1 else np.zeros_like(heats)  # flat: there is no other
    return [
        {
            "attacked_prediction": int(prediction),
            "correlation": _rounded(rank_correlation(heat, after)),
            "overlap": _rounded(top_overlap(heat, after)),
            "other_correlation": _rounded(rank_correlation(heat, other)),
            "other_overlap": _rounded(top_overlap(heat, other)),
        }
        for heat, after, other, prediction in zip(
            heats, moved, others, _predictions(model, attacked), strict=True
        )
    ]


def _predictions(model: nn.Module, images: Tensor) -> Tensor:
    with evaluating(model), torch.no_grad():
        return model(images).argmax(1)


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS)
