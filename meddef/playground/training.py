"""Trains the two models of the playground on OCT-like phantoms, cleanly and by the paper's recipe, and evaluates
them."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meddef.attacks import fgsm, noise, pgd
from meddef.data.images import ImageSet
from meddef.evaluation import evaluate
from meddef.evaluation.provenance import provenance
from meddef.playground.folded import Folded
from meddef.playground.images import SEED, SPLITS, draw_split
from meddef.playground.model import WIDTHS, narrow_meddef
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train

CLEAN = TrainingSettings(
    epochs=12, batch_size=32, learning_rate=2e-3, augmentation=["horizontal_flip"], adversarial=None
)
ADVERSARIAL = CLEAN.model_copy(update={"adversarial": AdversarialSettings(steps=4)})
SETTINGS = {"undefended": CLEAN, "defended": ADVERSARIAL}
STEPS = 10
RADII = (0.01, 0.03, 0.05)


class GreySet(ImageSet):
    """As ``ImageSet``, with one channel: attacks in the browser change grey values, not three equal channels."""

    def batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, W), float32 in [0, 1], and labels (B,), int64."""
        images, labels = super().batch(indices)
        return images[:, :1].clone(), labels


def split(name: str) -> GreySet:
    """The images of "train", "val" or "test", which share no patient."""
    drawn = draw_split(name)
    names = tuple(f"{name}/{i}" for i in range(len(drawn.images)))
    return GreySet(drawn.images, drawn.labels, names, drawn.patients)


def train_model(name: str, runs: Path) -> tuple[Folded, dict[str, Any]]:
    """Train "undefended" or "defended" on this machine's CPU; a run found in ``runs`` is resumed.

    Returns:
        The model as run in the browser, and its record (settings, test results, provenance).
    """
    settings = SETTINGS[name]
    images = split("train")
    pixels = images.images / 255
    torch.manual_seed(SEED)
    model = narrow_meddef(len(set(images.labels)), mean=float(pixels.mean()), std=float(pixels.std()))
    key = zlib.crc32(f"{settings!r} {SPLITS} {WIDTHS}".encode())  # other settings never resume this run
    state = train(
        model, images, split("val"), settings, seed=SEED, folder=runs / f"{name}-{key:08x}", label=name
    )
    folded = Folded(model)
    made = provenance("cpu", 0.0)
    del made["seconds"]  # a resumed run has several
    record = {
        "settings": settings.model_dump(),
        "best_epoch": state.best_epoch,
        "steps": STEPS,
        "widths": WIDTHS,
        "parameters": sum(parameter.numel() for parameter in folded.parameters()),
        "measured": measure(folded),
        "provenance": made,
    }
    return folded, record


def measure(model: Folded) -> list[dict[str, Any]]:
    """Counts on the test images, of every attack at every radius; one row each. PGD takes ``STEPS`` of eps / 5."""
    images = split("test")
    loader = [images.batch(indices) for indices in torch.arange(len(images)).split(50)]
    rows = []
    for eps in RADII:
        attacks = {
            "noise": partial(noise, eps=eps),
            "fgsm": partial(fgsm, eps=eps),
            "pgd": partial(pgd, eps=eps, step_size=eps / 5, steps=STEPS),
        }
        for attack, run in attacks.items():
            counts = evaluate(model, loader, run).counts
            rows.append({"attack": attack, "eps": eps, **vars(counts)})
    return rows
