"""Which weights are pruned: each once, those that are computed refused by name, and none forgotten."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

from meddef.errors import InputError
from meddef.pruning import prunable_weights, prune_l1, prune_l1_grid, sparsity


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))


def with_masks(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.3)


def unparametrized(layer: nn.Module) -> nn.Module:
    return remove_parametrizations(layer, "weight")


COMPUTED: dict[str, tuple[Callable[[nn.Module], nn.Module], Callable[[nn.Module], Any], str]] = {
    "weight norm": (
        parametrizations.weight_norm, unparametrized, r"torch.nn.utils.parametrize.remove_parametrizations\(layer"
    ),
    "spectral norm": (
        parametrizations.spectral_norm, unparametrized, r"torch.nn.utils.parametrize.remove_parametrizations\(layer"
    ),
    "orthogonal": (
        parametrizations.orthogonal, unparametrized, r"torch.nn.utils.parametrize.remove_parametrizations\(layer"
    ),
    "old weight norm": (weight_norm, nn.utils.remove_weight_norm, r"torch.nn.utils.remove_weight_norm\(layer"),
    "old spectral norm": (spectral_norm, nn.utils.remove_spectral_norm, r"torch.nn.utils.remove_spectral_norm\(layer"),
    "masks": (with_masks, lambda m: prune.remove(m, "weight"), r"torch.nn.utils.prune.remove\(layer, 'weight'\)"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("kind", COMPUTED)
def test_a_weight_that_is_computed_is_refused_and_the_remedy_helps(kind: str) -> None:
    """Zeros in it would be undone by the next forward pass, as 0.9 became 0."""
    compute, remedy, message = COMPUTED[kind]
    model, x = net(), torch.rand(3, 6)
    compute(model[2])
    model.eval()(x)
    for refused in (lambda: prune_l1(model, 0.9), lambda: sparsity(model), lambda: prunable_weights(model)):
        with pytest.raises(InputError, match=rf"layer '2' computes its weight .*: first call .*{message}"):
            refused()
    remedy(model[2])
    pruned = prune_l1(model, 0.9)
    pruned(x)
    assert sparsity(pruned) == 54 / 60


class Attention(nn.Module):
    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, **sizes)


EVERY: dict[str, tuple[nn.Module, dict[str, int]]] = {
    "1-d": (nn.Conv1d(2, 4, 3), {"weight": 24}),
    "3-d": (nn.Sequential(nn.Conv3d(1, 2, 2)), {"0.weight": 16}),
    "transposed": (
        nn.Sequential(nn.ConvTranspose1d(2, 3, 2), nn.ConvTranspose2d(3, 2, 2), nn.ConvTranspose3d(2, 1, 2)),
        {"0.weight": 12, "1.weight": 24, "2.weight": 16},
    ),
    "bilinear": (nn.Sequential(nn.Bilinear(2, 3, 4)), {"0.weight": 24}),
    "attention": (Attention(), {"attention.in_proj_weight": 108, "attention.out_proj.weight": 36}),
    "attention to others": (
        Attention(kdim=4, vdim=5),
        {f"attention.{name}_proj_weight": 6 * size for name, size in (("q", 6), ("k", 4), ("v", 5))}
        | {"attention.out_proj.weight": 36},
    ),
    "transformer": (
        nn.TransformerEncoderLayer(4, 2, 8),
        {"self_attn.in_proj_weight": 48, "self_attn.out_proj.weight": 16, "linear1.weight": 32, "linear2.weight": 32},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERY)
def test_every_layer_s_weights_are_ranked(kind: str) -> None:
    model, sizes = EVERY[kind]
    assert {name: weight.numel() for name, weight in prunable_weights(model).items()} == sizes
    total = sum(sizes.values())
    pruned = prune_l1(model, 0.5)
    assert sparsity(pruned) == round(total / 2) / total
    assert all(name in pruned.state_dict() for name in sizes)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.first, self.second = nn.Embedding(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.embedding.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_shared_weight_counts_once_and_stays_shared(scope: str) -> None:
    """Nine weights of which .3 are 3, not 2 of 9 or 4 of 18."""
    pruned = prune_l1(Tied(), 0.3, scope=scope)
    assert list(prunable_weights(pruned)) == ["first.weight"]
    assert int((pruned.first.weight == 0).sum()) == 3
    assert pruned.second.weight is pruned.first.weight is pruned.embedding.weight


def test_two_parameters_in_one_memory_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(model[0].weight.data.T)
    with pytest.raises(InputError, match=r"'0.weight' and '1.weight' are two parameters that share memory"):
        prune_l1(model, 0.5)
    side_by_side = torch.rand(2, 3, 3)
    for layer, part in zip(model, side_by_side, strict=True):
        layer.weight = nn.Parameter(part)
    assert sparsity(prune_l1(model, 0.5)) == 0.5


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("make", [nn.ReLU, lambda: nn.Linear(0, 3), lambda: nn.Embedding(2, 2)])
def test_the_sparsity_of_nothing_is_refused(make: Callable[[], nn.Module]) -> None:
    for refused in (sparsity, lambda model: prune_l1(model, 0.5)):
        with pytest.raises(InputError, match="there is nothing to prune"):
            refused(make())


def partly_scripted() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), torch.jit.script(nn.Linear(2, 2)))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})


def locked() -> nn.Module:
    model = net()
    model.lock = threading.Lock()
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partly_scripted, "layer '1' is scripted: prune the model first"),
        (lambda: torch.jit.script(net()), "the model is scripted"),
        (lambda: torch.jit.trace(net(), torch.rand(1, 6)), "the model is scripted"),
        (quantised, "layer '0' is quantised: prune the model first"),
        (
            lambda: nn.Sequential(nn.Linear(2, 2), nn.LazyConv2d(2, 3)),
            "layer '1' has no weight yet: run the model",
        ),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), "the model has a weight in torch.complex64"),
        (locked, "the model cannot be copied"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        prune_l1(make(), 0.5)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models_compute_with_the_pruned_weights(wrap: Callable[[nn.Module], nn.Module]) -> None:
    x = torch.rand(5, 6)
    wrapped = wrap(net())
    wrapped(x)
    pruned = prune_l1(wrapped, 0.7)
    torch.testing.assert_close(pruned(x), prune_l1(net(), 0.7)(x))
    torch.testing.assert_close(wrapped(x), net()(x))


def test_bfloat16_is_ranked_by_its_values_and_ties_by_position() -> None:
    layer = nn.Linear(6, 1, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.1, 0.2, -0.2, 0.2, 3.0]]))
    expected = torch.tensor([[0.5, 0, 0, 0, 0.2, 3.0]]).bfloat16()
    assert torch.equal(prune_l1(layer, 0.5).weight, expected)


def test_a_weight_that_is_a_buffer_stays_one() -> None:
    model = net()
    weight = model[0].weight.detach()
    del model[0].weight
    model[0].register_buffer("weight", weight)
    before = copy.deepcopy(model.state_dict())
    (pruned,) = prune_l1_grid(model, [0.5])
    assert "weight" in pruned[0]._buffers
    assert not isinstance(pruned[0].weight, nn.Parameter)
    assert sparsity(pruned) == 0.5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_formats_without_arithmetic_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    model[0].weight.data = model[0].weight.data.to(torch.float8_e4m3fn)
    with pytest.raises(
        InputError, match=r"layer '0' has a weight in torch.float8_e4m3fn: only real floats of 16, 32 or"
    ):
        prune_l1(model, 0.5)


def test_memory_shared_with_what_is_not_pruned_is_refused_too() -> None:
    """An embedding tied to its decoder by ``.data``: a copy would separate them without a word."""
    model = nn.ModuleList([nn.Embedding(4, 3), nn.Linear(3, 4)])
    model[1].weight.data = model[0].weight.data
    with pytest.raises(InputError, match=r"'0.weight' and '1.weight' are two parameters that share memory"):
        prune_l1(model, 0.5)
    assert len(prunable_weights(nn.ModuleList([nn.LSTM(3, 4), nn.Linear(3, 4)]))) == 1
