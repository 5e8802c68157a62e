"""What holds for any batch, model and budget: exact bounds, and the same numbers from the same seed."""

import math
from typing import Any

import pytest
import torch
from attack_models import (
    IN_EPS_BALL,
    QUICK,
    assert_within,
    attack,
    cnn,
    images,
    labels_of,
    stripes,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from meddef.attacks import jsma, pgd
from meddef.attacks.ensemble import members

FORMATS = [torch.contiguous_format, torch.channels_last]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(IN_EPS_BALL),
    n=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 4]),
    size=st.integers(4, 12),
    classes=st.sampled_from([2, 3, 4, 8]),
    eps=st.one_of(st.just(0.0), st.just(8 / 255), st.just(1.0), st.floats(1e-7, 1)),
    double=st.booleans(),
    memory_format=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_any_batch_comes_back_within_bounds(
    name: str, n: int, channels: int, size: int, classes: int, eps: float, double: bool, memory_format: Any
) -> None:
    dtype = torch.float64 if double else torch.float32
    model = cnn(channels, classes).to(dtype)
    x = images(n, channels, size).to(dtype).contiguous(memory_format=memory_format)
    labels = torch.arange(n) % classes
    reaching = {"step_size": eps / 2} if name in ("bim", "pgd") else {}
    adv = attack(name, model, x, labels, eps=eps, **reaching)
    assert (adv.shape, adv.dtype, adv.stride()) == (x.shape, x.dtype, x.stride())
    assert not adv.requires_grad
    assert_within(adv, x, eps)
    if eps == 0:
        assert torch.equal(adv, x)


@pytest.mark.parametrize("name", IN_EPS_BALL)
def test_one_eps_an_image(name: str) -> None:
    model, x = cnn(), images(3)
    radii = torch.tensor([0.0, 0.02, 0.3])
    reaching = {"step_size": radii / 2} if name in ("bim", "pgd") else {}
    adv = attack(name, model, x, labels_of(model, x), eps=radii, **reaching)
    assert torch.equal(adv[0], x[0])
    for i in (1, 2):
        assert_within(adv[i], x[i], radii[i].item())
    if name in ("fgsm", "bim", "pgd", "square", "noise"):
        assert (adv[2] - x[2]).abs().max() > 0.02


@pytest.mark.filterwarnings(
    "ignore::meddef.attacks.ZeroGradientWarning"
)  # an untrained net may be dead there
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    size=st.integers(4, 8),
    classes=st.sampled_from([2, 3, 4, 8]),
    theta=st.sampled_from([0.1, 0.7, 1.0, -0.3, -1.0]),
    gamma=st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 0.3)),
    options=st.sampled_from(
        [{}, {"features": 1}, {"unit": "pixel"}, {"pairs_per_step": 2}, {"targets": "all"}]
    ),
    double=st.booleans(),
    memory_format=st.sampled_from(FORMATS),
)
def test_jsma_stays_within_its_budget_for_any_batch(
    n: int,
    channels: int,
    size: int,
    classes: int,
    theta: float,
    gamma: float,
    options: dict[str, Any],
    double: bool,
    memory_format: Any,
) -> None:
    dtype = torch.float64 if double else torch.float32
    model = cnn(channels, classes).to(dtype)
    x = images(n, channels, size).to(dtype).contiguous(memory_format=memory_format)
    adv = jsma(model, x, torch.arange(n) % classes, theta=theta, gamma=gamma, max_steps=12, **options)
    assert (adv.shape, adv.dtype, adv.stride()) == (x.shape, x.dtype, x.stride())
    assert 0 <= adv.min() <= adv.max() <= 1
    changed = (adv != x).any(1).flatten(1) if options.get("unit") == "pixel" else (adv != x).flatten(1)
    assert changed.sum(1).max() <= math.floor(gamma * changed.shape[1])
    assert ((adv - x) * theta >= 0).all()


@pytest.mark.filterwarnings(
    "ignore::meddef.attacks.ZeroGradientWarning"
)  # an untrained net may be dead there
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 4),
    size=st.integers(4, 12),
    eps=st.one_of(st.just(0.0), st.floats(0.01, 0.2), st.floats(1e-6, 30)),
    double=st.booleans(),
    steps=st.integers(1, 3),
)
def test_the_l2_ball_is_never_left(n: int, size: int, eps: float, double: bool, steps: int) -> None:
    dtype = torch.float64 if double else torch.float32
    x = (0.25 + images(n, 3, size) / 2).to(dtype)  # away from 0 and 1, so that iterates end on the surface
    adv = pgd(
        cnn().to(dtype), x, torch.arange(n), eps=eps, step_size=2 * eps, steps=steps, norm="l2", restarts=2
    )
    assert 0 <= adv.min() <= adv.max() <= 1
    length = torch.linalg.vector_norm((adv.double() - x.double()).flatten(1), dim=1)
    assert length.max().item() <= eps


@pytest.mark.parametrize("classes", [2, 4])
def test_every_member_of_the_ensemble_leaves_exact_bounds(classes: int) -> None:
    model, (x, labels) = trained(classes), stripes(12, classes, 28, seed=999)
    radii = torch.linspace(0.001, 0.1, 12)
    for name, member in members(classes, steps=6, queries=12).items():
        adv = member(model, x, labels, eps=radii, generator=torch.Generator().manual_seed(0))
        assert not torch.equal(adv, x), name
        for i in range(12):
            assert_within(adv[i], x[i], radii[i].double().item())


@pytest.mark.parametrize("source", ["generator", "seed"])
@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "ensemble", "noise"])
def test_the_generator_or_the_seed_decides_every_random_number(name: str, source: str) -> None:
    """Twice with one seed, bit for bit, whatever was drawn in between; another seed finds other images."""
    x, labels = stripes(8, 4, 28, seed=999)
    model = trained(4, eps=0.04 if name == "ensemble" else 0.0)
    changes = (
        {"eps": 0.02} if name == "ensemble" else {}
    )  # all resist, so that the random attacks are reached
    found = []
    for seed in (7, 7, 8):
        torch.rand(3)
        given = {"seed": seed} if source == "seed" else {"generator": torch.Generator().manual_seed(seed)}
        found.append(attack(name, model, x, labels, **given, **changes))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


class Noisy(nn.Module):
    """Draws from the global random numbers at every pass, as randomised defences do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + 0.01 * torch.rand_like(x))


@pytest.mark.parametrize("name", list(QUICK))
def test_a_model_that_draws_random_numbers_takes_none_from_the_caller(name: str) -> None:
    model, x = Noisy().eval(), images(3)
    labels = labels_of(model.inner, x)
    state = torch.get_rng_state()
    attack(name, model, x, labels)
    assert torch.equal(torch.get_rng_state(), state)
