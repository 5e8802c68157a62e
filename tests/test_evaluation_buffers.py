"""Loaders, models and targets that use their tensors again, and models that draw: the numbers are those of copies."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import fgsm, pgd
from meddef.evaluation import evaluate
from meddef.robustness import robustness_report

ATTACK = partial(pgd, eps=0.1, step_size=0.025, steps=8)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def refilled(x: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of ten in one pair of tensors, as prefetching loaders give them."""
    some, their = torch.empty(10, *x.shape[1:]), torch.empty(10, dtype=torch.int64)
    for start in range(0, len(x), 10):
        yield some.copy_(x[start : start + 10]), their.copy_(labels[start : start + 10])


def fresh(x: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(10), labels.split(10), strict=True))


def test_a_loader_that_fills_its_tensors_again(net: nn.Module, x: Tensor) -> None:
    labels = net(x).argmax(1)
    labels[:8] = (labels[:8] + 1) % 3
    found = evaluate(net, refilled(x, labels), ATTACK)
    assert found.counts == evaluate(net, fresh(x, labels), ATTACK).counts
    assert found.counts.correct_before == 32
    first = robustness_report(net, refilled(x, labels), eps=0.02, budget="quick")[0]
    assert (first.numbers["images"], first.numbers["accuracy"]) == (40, 0.8)


class Static(nn.Module):
    """Answers in a buffer that every call writes again, as recorded CUDA graphs do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.out = net, torch.zeros(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return logits if torch.is_grad_enabled() else self.out[: len(x)].copy_(logits)


def test_a_model_that_answers_in_one_buffer(net: nn.Module, x: Tensor) -> None:
    labels = net(x).argmax(1)
    found, expected = (evaluate(model, [(x, labels)], ATTACK).counts for model in (Static(net), net))
    assert found == expected
    assert found.correct_before == 40 > found.correct_after
    first = robustness_report(Static(net), [(x, labels)], eps=0.02)[0]
    assert first.numbers["accuracy"] == 1


def test_targets_get_copies(net: nn.Module, x: Tensor) -> None:
    labels = net(x).argmax(1)
    kept = torch.empty(10, dtype=torch.int64)

    def second(logits: Tensor, labels: Tensor) -> Tensor:
        """The most likely other class; it writes into what it gets, and returns one buffer for all batches."""
        return kept.copy_(logits.scatter_(1, labels[:, None], -torch.inf).argmax(1))

    def pure(logits: Tensor, labels: Tensor) -> Tensor:
        return logits.scatter(1, labels[:, None], -torch.inf).argmax(1)

    attack = partial(ATTACK, targeted=True)
    found, expected = (evaluate(net, fresh(x, labels), attack, targets=each) for each in (second, pure))
    assert found.clean_accuracy.hits == 40
    assert (found.targets == expected.targets).all()
    assert found.targeted_success == expected.targeted_success


class Dropout(nn.Module):
    """Random in ``forward``, with a margin that a step against the drawn pixels alone can turn."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(x.flatten(1) - 0.5, 0.8, training=True))


def test_a_random_model_is_judged_with_numbers_that_the_attack_did_not_see() -> None:
    """FGSM moves the pixels that were drawn in its pass; drawn anew, they are others: by hand 98 % remain."""
    torch.manual_seed(0)
    model = Dropout().eval()
    weight = (model.head.weight[1] - model.head.weight[0]).detach()
    labels = torch.randint(0, 2, (400,))
    x = (0.5 + 0.05 * weight.sign() * (2 * labels[:, None] - 1)).reshape(-1, 1, 8, 8)
    leaf = x.clone().requires_grad_()
    F.cross_entropy(model(leaf), labels).backward()
    assert leaf.grad is not None
    by_hand = float((model(x + 0.08 * leaf.grad.sign()).argmax(1) == labels).float().mean())
    found = evaluate(model, [(x, labels)], partial(fgsm, eps=0.08))
    assert by_hand > 0.9
    assert abs(found.robust_accuracy.value - by_hand) < 0.05
    before = torch.get_rng_state()
    again = evaluate(model, [(x, labels)], partial(fgsm, eps=0.08)).counts
    torch.set_rng_state(before)
    assert evaluate(model, [(x, labels)], partial(fgsm, eps=0.08)).counts == again


def test_the_report_of_an_attack_that_writes_into_its_images(net: nn.Module, x: Tensor) -> None:
    labels = net(x).argmax(1)

    def writing(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
        return images.copy_(pgd(model, images.clone(), labels, eps=eps, step_size=eps / 4, steps=10))

    def pure(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
        return pgd(model, images, labels, eps=eps, step_size=eps / 4, steps=10)

    found, expected = (
        robustness_report(net, [(x, labels)], eps=0.05, budget="brief", attack=each)
        for each in (writing, pure)
    )
    assert [(item.name, item.verdict, item.numbers) for item in found] == [
        (item.name, item.verdict, item.numbers) for item in expected
    ]
