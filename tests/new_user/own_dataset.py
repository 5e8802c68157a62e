"""A torch Dataset of my own: train on it, and attack what was trained."""

from functools import partial
from pathlib import Path

import torch
from my_models import brightness
from my_pictures import picture
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meddef.attacks import fgsm
from meddef.evaluation import evaluate
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train


class Scans(Dataset[tuple[Tensor, int]]):
    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(picture(index % 2, self.first + index))
        return pixels.float().div(255)[None], index % 2


model = brightness(1, 2)
model[0].requires_grad_(False)  # its first layer is not to change
before = model[0].weight.clone()
settings = TrainingSettings(epochs=2, batch_size=8, adversarial=AdversarialSettings(method="madry", steps=2))
state = train(
    model, Scans(0, 24), Scans(100, 8), settings, seed=0, folder=Path("my_training"), progress=False
)
assert len(state.history) == 2
assert torch.equal(model[0].weight, before)
outcome = evaluate(model, DataLoader(Scans(200, 8), batch_size=4), partial(fgsm, eps=8 / 255))
assert outcome.counts.n == 8
assert outcome.clean_accuracy.value == 1.0
