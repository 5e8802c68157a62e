"""A model whose logits for an image depend on the other images of its batch has no number per image: said, once."""

import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from attack_models import cnn, images
from torch import Tensor, nn

from meddef.attacks import pgd
from meddef.evaluation import evaluate
from meddef.evaluation.coupling import CoupledBatchWarning
from meddef.robustness import robustness_report

ATTACK = partial(pgd, eps=0.03, step_size=0.01, steps=6)
TOLD = "logits for an image depend on the other images of its batch"


class Then(nn.Module):
    """A small network after a function of its images (N, 3, H, W)."""

    def __init__(self, first: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.rest = first, cnn()

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.first(x))


class BatchFirstForgotten(nn.Module):
    """Attention over patches (N, L, E) by a layer that expects (L, N, E): it attends to the other images."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 1, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = 8 * self.patches(x).flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(mixed.mean(1))


def dark_to_bright(count: int) -> Tensor:
    return images(count) * torch.linspace(0.2, 1, count).reshape(-1, 1, 1, 1)


def judged(
    model: nn.Module, count: int = 12, dtype: torch.dtype = torch.float32
) -> list[warnings.WarningMessage]:
    model = model.eval().to(dtype)
    x = dark_to_bright(count).to(dtype)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        evaluate(model, [(x, torch.arange(count) % 3)] * 2, ATTACK)
    return [one for one in told if issubclass(one.category, CoupledBatchWarning)]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), cnn()),
        Then(lambda x: (x - x.mean()) / x.std()),
        Then(lambda x: x / x.amax(dim=(0, 2, 3), keepdim=True)),
        BatchFirstForgotten(batch_first=False),
    ],
    ids=["batch norm", "standardised", "by the largest", "attention"],
)
def test_a_coupled_model_is_told_of_once_at_the_callers_line(model: nn.Module) -> None:
    (told,) = judged(model)
    assert TOLD in str(told.message)
    assert told.filename == __file__
    with pytest.warns(CoupledBatchWarning, match=TOLD):
        robustness_report(model, [(dark_to_bright(24), torch.arange(24) % 3)], eps=0.03, budget="brief")


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = cnn()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.reshape(12, 3, *x.shape[2:]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "model",
    [
        cnn(),
        nn.Sequential(nn.InstanceNorm2d(3), cnn()),
        nn.Sequential(nn.BatchNorm2d(3), cnn()),
        Then(lambda x: x + 0.3 * torch.rand_like(x)),
        BatchFirstForgotten(batch_first=True),
    ],
    ids=["plain", "instance norm", "batch norm", "random", "attention"],
)
def test_others_are_not(model: nn.Module, dtype: torch.dtype) -> None:
    assert not judged(model, dtype=dtype)


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.5])
def test_chance_is_not_taken_for_coupling(strength: float) -> None:
    told = []
    for seed in range(30):
        torch.manual_seed(seed)
        told += judged(Then(lambda x: x + strength * torch.rand_like(x)), 6)
    assert not told


def test_nothing_is_said_where_nothing_can_be_told() -> None:
    """A single image; a model that accepts one batch size; no attack."""
    coupled = Then(lambda x: x - x.mean())
    assert not judged(coupled, 1)
    assert judged(coupled, 2)
    x = images(12)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoupledBatchWarning)
        evaluate(FixedBatch(), [(x, torch.arange(12) % 3)], lambda model, x, labels: x)
        evaluate(coupled, [(x, torch.arange(12) % 3)], None)


def test_the_callers_chance_is_as_without_it() -> None:
    """The question draws nothing from the caller's generator."""
    noisy, x, labels = Then(lambda x: x + 0.3 * torch.rand_like(x)), images(6), torch.arange(6) % 3
    states = []
    for attack in (None, lambda model, x, labels: x):
        torch.manual_seed(1)
        evaluate(noisy, [(x, labels)], attack)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
