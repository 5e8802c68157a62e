"""Packed weights come back bit for bit, and are as small as the bench says they must be."""

from pathlib import Path

import pytest
import torch
from torch import nn

from meddef.errors import InputError
from meddef.pruning import prune_l1
from meddef.sparse import load_sparse, pack, save_sparse, unpack
from meddef.training.checkpoint import save_weights


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Flatten(), nn.Linear(128, 512), nn.Linear(512, 4)
    )


def test_a_pruned_model_comes_back_bit_for_bit_and_small(tmp_path: Path) -> None:
    pruned, other = prune_l1(model(0), 0.8), model(1)
    save_sparse(tmp_path / "sparse.safetensors", pruned)
    save_weights(tmp_path / "dense.safetensors", pruned)
    load_sparse(tmp_path / "sparse.safetensors", other)
    for name, value in pruned.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    small, large = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("sparse", "dense"))
    assert small < 0.22 * large


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(5, 3),
        torch.tensor([0.0, -0.0, float("nan"), float("inf"), 0.0, 0.0, 1e-45]),
        torch.zeros(0),
        torch.zeros(()),
        torch.ones(4),
        torch.zeros(3, dtype=torch.int64),
    ],
)
def test_every_tensor_survives(value: torch.Tensor) -> None:
    back = unpack(pack({"a.weight": value}))["a.weight"]
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    bits = torch.int32 if value.dtype == torch.float32 else torch.int64
    assert torch.equal(back.view(bits), value.view(bits))


def test_bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no weights at"):
        load_sparse(path, model(0))
    save_sparse(path, prune_l1(model(0), 0.8))
    with pytest.raises(InputError, match="weights of another model"):
        load_sparse(path, nn.Linear(2, 2))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a whole file"):
        load_sparse(path, model(0))
