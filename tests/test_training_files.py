"""Files of trainings: weights that share memory, and folders that hold another training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import nn

from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.settings import TrainingSettings
from meddef.training import load_weights, save_weights, train


class Tied(nn.Module):
    """Two layers with one weight, and a buffer that is a part of another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("whole", torch.arange(4.0))
        self.register_buffer("part", self.whole[1:3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x.mean((2, 3))))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_shared_weights_go_to_a_file_and_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, other = Tied(), Tied()
    save_weights(tmp_path / "w.safetensors", model)
    assert set(load_file(tmp_path / "w.safetensors")) == set(model.state_dict())
    load_weights(tmp_path / "w.safetensors", other)
    assert all(torch.equal(value, state(other)[name]) for name, value in state(model).items())
    assert other.first.weight is other.second.weight


def test_files_of_safetensors_own_are_read(tmp_path: Path) -> None:
    """``save_model`` writes one name of those that share a weight."""
    torch.manual_seed(0)
    model, other = Tied(), Tied()
    save_model(model, str(tmp_path / "w.safetensors"))
    assert len(load_file(tmp_path / "w.safetensors")) < len(model.state_dict())
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(other.second.weight, model.first.weight)
    untied = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
    with pytest.raises(InputError, match="holds the weights of another model"):
        load_weights(tmp_path / "w.safetensors", untied)


def images(count: int, seed: int = 0, names: str = "image") -> ImageSet:
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    pixels = generator.integers(256, size=(count, 32, 32), dtype=np.uint8)
    return ImageSet(pixels, labels, tuple(f"{names}{i}" for i in range(count)), ("",) * count)


SETTINGS = TrainingSettings(epochs=1, batch_size=6, learning_rate=0.01, adversarial=None)


def fit(
    folder: Path, settings: TrainingSettings = SETTINGS, seed: int = 0, names: str = "image"
) -> nn.Module:
    torch.manual_seed(0)
    model = Tied()
    train(model, images(12, names=names), images(6), settings, seed=seed, folder=folder, progress=False)
    return model


def test_a_model_with_shared_weights_is_trained_and_resumed(tmp_path: Path) -> None:
    first = fit(tmp_path)
    assert all(torch.equal(value, state(fit(tmp_path))[name]) for name, value in state(first).items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, r"\(seed: 0, now 1\)"),
        ({"settings": SETTINGS.model_copy(update={"epochs": 3})}, r"\(epochs: 1, now 3\)"),
        (
            {"settings": SETTINGS.model_copy(update={"learning_rate": 0.02})},
            r"\(learning_rate: 0.01, now 0.02\)",
        ),
        ({"names": "other"}, r"\(file names and labels: \w+, now \w+\)"),
    ],
)
def test_a_folder_that_holds_another_training_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    fit(tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(InputError, match=f"contains another training {message}: give another folder"):
        fit(tmp_path, **changed)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_the_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(InputError, match="is the checkpoint of another model"):
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)),
            images(12),
            images(6),
            SETTINGS,
            seed=0,
            folder=tmp_path,
        )


def test_only_wrappers_differ_in_what_a_file_calls_its_weights(tmp_path: Path) -> None:
    """What torch.compile and DataParallel put in front of names, in files and in models."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 3))
    wrapped = {"DP": nn.DataParallel(plain), "compiled": torch.compile(plain, backend="eager")}
    for name, model in wrapped.items():
        save_weights(tmp_path / f"{name}.safetensors", model)
        other = nn.Sequential(nn.Linear(3, 3))
        load_weights(tmp_path / f"{name}.safetensors", other)
        assert torch.equal(other[0].weight, plain[0].weight)
    save_weights(tmp_path / "plain.safetensors", plain)
    other = nn.DataParallel(nn.Sequential(nn.Linear(3, 3)))
    load_weights(tmp_path / "plain.safetensors", other)
    assert torch.equal(other.module[0].weight, plain[0].weight)


class Keeps(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


@pytest.mark.parametrize(
    ("model", "told"),
    [(Keeps(2, 2), "'_extra_state' is a dict, no tensor: leave get_extra_state out"),
     (nn.LazyLinear(2), "'weight' has no shape yet: run the model on a batch once")],
)  # fmt: skip
def test_a_state_that_no_file_holds_is_refused_before_time_is_spent(
    model: nn.Module, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"the model's state cannot be saved: {told}"):
        save_weights(tmp_path / "w.safetensors", model)
    assert not list(tmp_path.iterdir())
    nothing: Any = None  # no image is asked for
    with pytest.raises(InputError, match=told):
        train(model, nothing, nothing, TrainingSettings(epochs=1), seed=0, folder=tmp_path)
