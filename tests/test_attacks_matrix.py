"""Every attack on every kind of model in every number format: the right result or a refusal in one line, never silence.

Right is judged by criteria that share nothing with the attacks: bounds in float64, the state of the model and of the
caller bit for bit, and the verdicts on a twin (the same weights in float64, out of place, in evaluation mode, not
wrapped). In half precision a model answers differently near a boundary: there two of the eight images may differ.
"""

import copy
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import pytest
import torch
from attack_models import IN_EPS_BALL, QUICK, assert_within, attack
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from meddef.attacks import ATTACKS, apgd, jsma, pgd
from meddef.attacks.ensemble import members

CLASSES, N = 4, 8
EPS = 3 / 64  # as the images: corners of the ball are the same numbers in every format
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Net(nn.Module):
    """Convolution, BatchNorm with non-trivial statistics, dropout, a second convolution, a head: float64."""

    def __init__(self, channels: int, *, tied: bool = False, in_place: bool = False) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.third = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(24, CLASSES)
        self.in_place = in_place
        if tied:
            self.third.weight = self.second.weight

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5).mul_(4) if self.in_place else x.sub(0.5).mul(4)
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.third(torch.relu(self.second(x))))
        return self.head(self.drop(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)))


def plain(channels: int = 3, size: tuple[int, int] = (8, 8), **how: bool) -> nn.Module:
    """In training mode. Smooth filters, and a head that predicts several classes: some images resist."""
    torch.manual_seed(0)
    net = Net(channels, **how).double()
    nn.init.uniform_(net.norm.running_mean, -0.2, 0.2)
    nn.init.uniform_(net.norm.running_var, 0.5, 2)
    with torch.no_grad():
        for layer in (net.first, net.second):
            layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True) * 3 + 0.1 * layer.weight)
        logits = net.eval()(images(channels, *size).clone())
        net.head.bias -= logits.mean(0)
        scale = 4 / logits.std(0)
        net.head.weight *= scale[:, None]
        net.head.bias *= scale
    return net.train()


def frozen_norm(net: Any) -> nn.Module:
    net.norm.eval()
    return net


def weight_normed(net: Any) -> nn.Module:
    net.first = parametrizations.weight_norm(net.first)
    return net


def weight_normed_of_old(net: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net.second = weight_norm(net.second)
    return net


def compiled(net: nn.Module) -> nn.Module:
    """In float32 with a compiled backward pass too, which cannot be gone through twice."""
    torch._dynamo.reset()
    backend = "aot_eager" if next(net.parameters()).dtype == torch.float32 else "eager"
    return torch.compile(net, backend=backend, dynamic=True)  # type: ignore[return-value]


KINDS: dict[str, tuple[dict[str, Any], tuple[int, int], Callable[[nn.Module], nn.Module]]] = {
    "train mode": ({}, (8, 8), lambda net: net.train()),
    "frozen BatchNorm": ({}, (8, 8), frozen_norm),
    "tied": ({"tied": True}, (8, 8), lambda net: net),
    "weight-normed": ({}, (8, 8), weight_normed),
    "weight-normed of old": ({}, (8, 8), weight_normed_of_old),
    "compiled": ({}, (8, 8), compiled),
    "scripted": ({}, (8, 8), torch.jit.script),
    "DataParallel": ({}, (8, 8), nn.DataParallel),
    "in-place": ({"in_place": True}, (8, 8), lambda net: net),
    "in-place, scripted": ({"in_place": True}, (8, 8), torch.jit.script),
    "in-place, compiled": ({"in_place": True}, (8, 8), compiled),
    "frozen": ({}, (8, 8), lambda net: net.requires_grad_(False)),
    "one-channel": ({"channels": 1}, (8, 8), lambda net: net),
    "five-channel": ({"channels": 5}, (8, 8), lambda net: net),
    "rectangular": ({}, (5, 9), lambda net: net),
}
RUNS: dict[str, Callable[..., Tensor]] = {
    name: partial(attack, name, **({"eps": EPS} if name in IN_EPS_BALL else {})) for name in QUICK
} | {
    f"{name} of the ensemble": partial(member, eps=EPS)
    for name, member in members(CLASSES, steps=5, queries=8).items()
}
RUNS |= {
    "square": partial(attack, "square", eps=EPS, queries=40),
    "pgd in l2": partial(pgd, norm="l2", eps=0.5, step_size=0.2, steps=5),
    "pgd, dlr, first": partial(pgd, eps=EPS, step_size=1 / 64, steps=5, loss="dlr", stop="first", restarts=2),
    "jsma by probabilities": partial(jsma, theta=0.3, gamma=0.1, saliency="softmax"),
    "jsma by pixels": partial(jsma, theta=-0.3, gamma=0.2, unit="pixel", features=1),
    "apgd on the margin": partial(apgd, eps=EPS, steps=5, loss="margin"),
}


CELLS = [
    (kind, dtype)
    for kind in KINDS
    for dtype in DTYPES
    if kind != "in-place, compiled"
    or dtype == torch.float32  # slow, and in half precision a copy is compiled anyway
]


def test_every_attack_is_in_the_matrix() -> None:
    assert set(ATTACKS) <= set(RUNS)


@lru_cache
def images(channels: int, height: int, width: int) -> Tensor:
    """float64, multiples of 1/64 from 0 to 63/64, the same numbers in every format: four patches and some noise."""
    generator = torch.Generator().manual_seed(3)
    patches = torch.randint(8, 56, (N, channels, 2, 2), generator=generator).double()
    noise = torch.randint(-8, 8, (N, channels, height, width), generator=generator)
    return (nn.functional.interpolate(patches, (height, width)) + noise) / 64


@lru_cache
def twin(channels: int, tied: bool, size: tuple[int, int]) -> nn.Module:
    return plain(channels, size, tied=tied).eval()


@lru_cache
def expected(name: str, channels: int, tied: bool, size: tuple[int, int]) -> Tensor:
    """Which images the twin still gets right, (N,) bool."""
    net, x = twin(channels, tied, size), images(channels, *size)
    labels = net(x).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return net(RUNS[name](net, x, labels)).argmax(1) == labels


def bits(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


def state(model: nn.Module) -> tuple[list[bool], list[bool], list[Tensor]]:
    modes = [module.training for module in model.modules()]
    needs = [parameter.requires_grad for parameter in model.parameters()]
    return modes, needs, bits([*model.parameters(), *model.buffers()])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "dtype"), [pytest.param(kind, dtype, id=f"{kind} {str(dtype)[6:]}") for kind, dtype in CELLS]
)
def test_every_attack_is_right(kind: str, dtype: torch.dtype) -> None:
    how, size, make = KINDS[kind]
    channels, tied = how.get("channels", 3), how.get("tied", False)
    model = make(plain(size=size, **how).to(dtype))
    judge, original = copy.deepcopy(twin(channels, tied, size)).to(dtype), images(channels, *size).to(dtype)
    labels = twin(channels, tied, size)(images(channels, *size)).argmax(1)
    apart = 0 if dtype in (torch.float64, torch.float32) else 2
    wrong = []
    for name, run in RUNS.items():
        x, before, rng = original.clone(), state(model), torch.get_rng_state()
        found = run(model, x, labels)
        assert torch.equal(x, original), name
        assert torch.equal(torch.get_rng_state(), rng), name
        assert state(model)[:2] == before[:2], name
        assert all(torch.equal(*pair) for pair in zip(state(model)[2], before[2], strict=True)), name
        assert all(parameter.grad is None for parameter in model.parameters()), name
        assert (found.dtype, found.shape) == (dtype, x.shape), name
        _check_bounds(name, found, x)
        right, wanted = judge(found).argmax(1) == labels, expected(name, channels, tied, size)
        if int((right != wanted).sum()) > apart:
            wrong.append(f"{name}: right {right.long().tolist()}, the twin {wanted.long().tolist()}")
    assert not wrong, "\n".join(wrong)


def _check_bounds(name: str, found: Tensor, x: Tensor) -> None:
    assert found.min() >= 0, name
    assert found.max() <= 1, name
    if name == "pgd in l2":
        assert (found.double() - x.double()).flatten(1).norm(dim=1).max() <= 0.5
    elif name == "patch":
        assert (found != x).any(1).flatten(1).sum(1).max() <= 0.2 * x[0, 0].numel(), name
    elif name == "corruption":
        assert not torch.equal(found, x)
    elif name.startswith("jsma"):
        assert (found != x).flatten(1).sum(1).max() <= 0.2 * x[0].numel(), name
    else:
        assert_within(found, x, EPS)
