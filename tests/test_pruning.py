"""L1 pruning against torch's own, arithmetic by hand, and its refusals."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from meddef.errors import InputError
from meddef.pruning import prunable_weights, prune_l1, prune_l1_grid, sparsity

RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 10), nn.Linear(10, 4)
    )


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in prunable_weights(model).items()}


@pytest.mark.parametrize("rate", RATES)
def test_global_equals_torch(model: nn.Module, rate: float) -> None:
    expected = copy.deepcopy(model)
    targets = [(m, "weight") for m in expected.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(targets, prune.L1Unstructured, amount=rate)
    for module, name in targets:
        prune.remove(module, name)
    pruned = prune_l1(model, rate)
    assert list(pruned.state_dict()) == list(model.state_dict())  # no mask buffers
    for name, value in expected.state_dict().items():
        assert torch.equal(pruned.state_dict()[name], value), name


@pytest.mark.parametrize("rate", RATES)
def test_layer_prunes_each_by_the_rate(model: nn.Module, rate: float) -> None:
    for weight in weights(prune_l1(model, rate, scope="layer")).values():
        assert int((weight == 0).sum()) == round(rate * weight.numel())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_grid_equals_single_calls_and_leaves_the_model(model: nn.Module, scope: str) -> None:
    before = copy.deepcopy(model.state_dict())
    for rate, pruned in zip(RATES, prune_l1_grid(model, RATES, scope=scope), strict=True):
        total = sum(w.numel() for w in weights(model).values())
        if scope == "global":
            assert sparsity(pruned) == round(rate * total) / total
        single = prune_l1(model, rate, scope=scope).state_dict()
        assert all(torch.equal(single[name], value) for name, value in pruned.state_dict().items())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_smallest_go_first_and_ties_by_position() -> None:
    layer = nn.Linear(6, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.1, 0.2, -0.2, 0.2, 3.0]]))
    half = prune_l1(layer, 0.5).weight  # the 0.1 and the first two of three 0.2
    assert torch.equal(half, torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.2, 3.0]]))


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.4, 0.9])
def test_ties_across_layers_in_any_memory_format(rate: float) -> None:
    """Magnitudes of a few values only: the count is exact, and it is the first of the equal ones that go."""
    layers = nn.Sequential(nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 2))
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-3, 4, (128,), generator=generator).float()
    with torch.no_grad():
        for layer, part in zip(layers, values.split(64), strict=True):
            layer.weight.copy_(part.reshape(4, 4, 2, 2))
    pruned = prune_l1(layers.to(memory_format=torch.channels_last), rate)
    order = values.abs().argsort(stable=True)[: round(rate * 128)]
    expected = values.index_fill(0, order, 0.0)
    assert torch.equal(torch.cat([weight.flatten() for weight in weights(pruned).values()]), expected)


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "all equal": lambda rng, n: np.full(n, -0.5),
    "few values, zeros too": lambda rng, n: rng.integers(-2, 3, n) / 4,
    "of every size": lambda rng, n: rng.choice([-1, 1], n) * 10.0 ** rng.integers(-40, 5, n),  # subnormal too
    "close together": lambda rng, n: 1 + rng.integers(0, 3, n) * 2.0**-20,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_grid_equals_a_stable_sort(kind: str, dtype: torch.dtype) -> None:
    """Every rate of a grid, on weights that share their leading bits or all of them, against one sort of everything."""
    values = torch.from_numpy(KINDS[kind](np.random.default_rng(0), 1000)).to(dtype)
    layer = nn.Linear(100, 10).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(values.reshape(10, 100))
    order = values.abs().argsort(stable=True)
    rates = [0.0, 0.001, 0.25, 0.5, 0.777, 0.999]
    for rate, pruned in zip(rates, prune_l1_grid(layer, rates), strict=True):
        expected = values.index_fill(0, order[: round(rate * 1000)], 0.0)
        assert torch.equal(pruned.weight.flatten(), expected)


def test_copies_share_nothing_and_keep_what_is_trained(model: nn.Module) -> None:
    model[0].weight.requires_grad_(False)
    first, second = prune_l1_grid(model, [0.0, 0.5])
    for pruned in (first, second):
        assert [w.requires_grad for w in pruned.parameters()] == [w.requires_grad for w in model.parameters()]
    places = [w.data_ptr() for net in (model, first, second) for w in net.parameters()]
    assert len(set(places)) == len(places)


def test_biases_and_batchnorm_stay(model: nn.Module) -> None:
    pruned = prune_l1(model, 0.8)
    kept = [name for name in model.state_dict() if name not in weights(model)]
    assert all(torch.equal(pruned.state_dict()[name], model.state_dict()[name]) for name in kept)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_bad_rates_are_refused(model: nn.Module, rate: float) -> None:
    with pytest.raises(InputError, match="out of range"):
        prune_l1(model, rate)


def test_other_bad_input_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match="unknown pruning scope 'local'"):
        prune_l1(model, 0.5, scope="local")
    with pytest.raises(InputError, match="nothing to prune"):
        prune_l1(nn.ReLU(), 0.5)
    with torch.no_grad():
        model[3].weight[0, 0] = np.nan
    with pytest.raises(InputError, match=r"'3\.weight' is not finite"):
        prune_l1(model, 0.5)


@pytest.mark.parametrize(
    "formats",
    [(torch.float16, torch.float32), (torch.float64, torch.float32), (torch.float16, torch.bfloat16)],
    ids=str,
)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_formats_are_ranked_together(formats: tuple[torch.dtype, torch.dtype], rate: float) -> None:
    """A half-precision body with a float32 head: the share of the whole, with the order of all magnitudes."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64).to(dtype) for dtype in formats))
    pruned = prune_l1(model, rate)
    before = torch.cat([layer.weight.detach().double().abs().flatten() for layer in model])
    zeros = torch.cat([(layer.weight == 0).flatten() for layer in pruned])
    assert int(zeros.sum()) == round(rate * len(before))
    assert before[zeros].max() <= before[~zeros].min()
    assert [layer.weight.dtype for layer in pruned] == list(formats)
