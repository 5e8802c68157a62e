"""The laboratory's subject: a small network, trained like the package's models, early and late in training."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from meddef.data import Splits
from meddef.models import Normalized
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train

EPOCHS = 12
TRAINING = TrainingSettings(
    epochs=EPOCHS, batch_size=16, learning_rate=3e-3, dropout=0.2, channels_last=False, adversarial=None
)


@dataclass(frozen=True)
class Subject:
    """One trained model, the same after one epoch, and an undefended one with another seed."""

    name: str
    model: Normalized
    early: Normalized
    other: Normalized


def network(classes: int) -> nn.Module:
    """Three strided convolutions with BatchNorm: (N, 3, 32, 32) -> (N, K)."""
    layers: list[nn.Module] = []
    for before, after in ((3, 12), (12, 24), (24, 32)):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 16, classes))


def subjects(splits: Splits, folder: Path) -> list[Subject]:
    """The undefended and the adversarially trained model."""
    defended = TRAINING.model_copy(update={"adversarial": AdversarialSettings(steps=4)})
    other = fit(splits, TRAINING, folder / "other", seed=1)
    found = []
    for name, settings in (("undefended", TRAINING), ("defended", defended)):
        early = fit(splits, settings.model_copy(update={"epochs": 1}), folder / f"{name}-early", seed=0)
        found.append(Subject(name, fit(splits, settings, folder / name, seed=0), early, other))
    return found


def fit(splits: Splits, settings: TrainingSettings, folder: Path, *, seed: int) -> Normalized:
    """A trained model in evaluation mode."""
    torch.manual_seed(seed)
    model = Normalized(network(len(splits.classes)), splits.mean, splits.std)
    train(model, splits.train, splits.val, settings, seed=seed, folder=folder, progress=False)
    return copy.deepcopy(model).eval()
