"""A frozen part of a model stays as it is, bit for bit, in every method of training; the rest is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train
from meddef.training.frozen import frozen_norms, frozen_words


def images(count: int) -> ImageSet:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    pixels = np.clip(rng.normal(90 + 60 * labels[:, None, None], 30, (count, 12, 12)), 0, 255).astype(
        np.uint8
    )
    return ImageSet.from_arrays(pixels, labels, channels=1)


def network() -> nn.Sequential:
    """A backbone with a BatchNorm that has no parameters, which is to be frozen, and a head with one that is not."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, affine=False)
    )
    head = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    model = nn.Sequential(backbone, head)
    with torch.no_grad():
        model(torch.rand(8, 1, 12, 12))  # statistics other than 0 and 1
    backbone.requires_grad_(False)
    return model


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ["clean", "meddef", "madry", "fast", "trades"])
def test_a_frozen_part_stays_bit_for_bit(method: str, tmp_path: Path) -> None:
    rule = None if method == "clean" else AdversarialSettings(method=method, steps=2)  # type: ignore[arg-type]
    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-2, adversarial=rule)
    model = network()
    before = state(model)
    train(model, images(24), images(8), settings, seed=0, folder=tmp_path, progress=False)
    after = state(model)
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == name.startswith("0."), name
    assert not any(parameter.requires_grad for parameter in model[0].parameters())
    assert {layer.training for layer in model.modules()} <= {True, False}


def test_statistics_move_where_anything_of_a_part_is_trained() -> None:
    model = network()
    assert [type(layer).__name__ for layer in frozen_norms(model)] == ["BatchNorm2d", "BatchNorm2d"]
    assert (
        frozen_words(model) == "frozen: 48 of 718 parameters, with the statistics of 2 normalisation layers"
    )
    model[0][0].weight.requires_grad_(True)  # the last BatchNorm belongs to a part that is trained now
    assert frozen_norms(model) == [model[0][1]]
    assert frozen_norms(model.requires_grad_(True)) == []
    assert frozen_words(model) == ""


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train"):
        train(
            network().requires_grad_(False), images(8), images(8), TrainingSettings(epochs=1, adversarial=None),
            seed=0, folder=tmp_path, progress=False,
        )  # fmt: skip


def test_another_choice_of_frozen_parts_is_another_training(tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, adversarial=None)
    train(network(), images(8), images(8), settings, seed=0, folder=tmp_path, progress=False)
    for model in (network().requires_grad_(True), network()):
        model[0][0].requires_grad_(True)
        with pytest.raises(InputError, match="contains another training"):
            train(model, images(8), images(8), settings, seed=0, folder=tmp_path, progress=False)
