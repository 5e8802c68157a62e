"""A targeted attack must not take the true classes for its targets: then everything would look robust."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from attack_models import Linear
from torch import Tensor, nn

from meddef.attacks import bim, fgsm, jsma, pgd, square
from meddef.attacks.peers import art_attack
from meddef.attacks.targets import is_targeted
from meddef.audit import robustness_report
from meddef.errors import InputError
from meddef.evaluation import evaluate

PGD = partial(pgd, eps=0.5, step_size=0.125, steps=8, random_start=False)
IMAGES = torch.full((4, 1, 1, 3), 0.5)
LABELS = torch.tensor([0, 0, 0, 1])


def model() -> nn.Module:
    """Logits = the three pixels, and a little for class 0: right for the first three images."""
    return nn.Sequential(nn.Flatten(), _Biased())


class _Biased(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tensor([0.1, 0.0, -0.2])


class WithDefault:
    """Somebody's attack object, as torchattacks has them."""

    targeted = True

    def __call__(self, model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        return x


def _own(model: nn.Module, x: Tensor, labels: Tensor, targeted: bool = True) -> Tensor:
    return x


TARGETED: dict[str, Callable[..., Any]] = {
    "pgd": partial(PGD, targeted=True),
    "bim": partial(bim, eps=0.5, step_size=0.1, steps=5, targeted=True),
    "fgsm": partial(fgsm, eps=0.5, targeted=True),
    "square": partial(square, eps=0.5, queries=5, targeted=True),
    "a partial of a partial": partial(partial(pgd, targeted=True), eps=0.5, step_size=0.1, steps=5),
    "ART's": partial(art_attack, attack="ProjectedGradientDescent", eps=0.5, targeted=True),
    "ART's, targeted unless told otherwise": partial(art_attack, attack="BoundaryAttack"),
    "ART's, targeted by name": partial(art_attack, attack="TargetedUniversalPerturbation"),
    "an attribute": WithDefault(),
    "a default of its own": _own,
    "a method of such an object": WithDefault().__call__,
}
HIDDEN: dict[str, Callable[..., Any]] = {
    "pgd": lambda model, x, y, **eps: PGD(model, x, y, targeted=True),
    "fgsm": lambda model, x, y, **eps: fgsm(model, x, y, eps=0.5, targeted=True),
    "square": lambda model, x, y, **eps: square(model, x, y, eps=0.5, queries=5, targeted=True),
    "image by image": lambda model, x, y: torch.cat(
        [PGD(model, x[i : i + 1], y[i : i + 1], targeted=True) for i in range(len(x))]
    ),
    "in another order": lambda model, x, y: PGD(model, x.flip(0), y.flip(0), targeted=True).flip(0),
    "those that are right": lambda model, x, y: torch.cat([PGD(model, x[:3], y[:3], targeted=True), x[3:]]),
}
SEVERAL = IMAGES + torch.arange(4).view(4, 1, 1, 1) / 100


@pytest.mark.parametrize("name", TARGETED)
def test_without_targets_it_is_refused(name: str) -> None:
    if "ART" in name:
        pytest.importorskip("art", reason="the peers extra is not installed")
    attack = TARGETED[name]
    with pytest.raises(InputError, match=r"the attack is targeted and .* give evaluate targets="):
        evaluate(model(), [(IMAGES, LABELS)], attack)
    with pytest.raises(InputError, match="the attack is targeted"):
        robustness_report(model(), [(IMAGES, LABELS)], eps=0.1, attack=attack)


@pytest.mark.parametrize("attack", HIDDEN.values(), ids=HIDDEN)
def test_in_a_lambda_it_is_refused_when_it_is_made(attack: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="given the true classes as its targets"):
        evaluate(model(), [(SEVERAL, LABELS)], attack)


@pytest.mark.parametrize(
    "attack",
    [
        PGD,
        partial(PGD, targeted=False),
        partial(jsma, theta=0.1, gamma=0.5),
        partial(art_attack, attack="BoundaryAttack", targeted=False),
        partial(art_attack, attack="SaliencyMapMethod"),
        partial(_own, targeted=False),
        lambda model, x, y: x,
        nn.Identity(),
    ],
)
def test_an_untargeted_one_is_not_taken_for_targeted(attack: Callable[..., Any]) -> None:
    assert not is_targeted(attack)


def test_an_attack_that_chooses_its_own_targets_may_be_judged_by_the_true_classes() -> None:
    outcome = evaluate(model(), [(IMAGES, LABELS)], lambda m, x, y: PGD(m, x, (y + 1) % 3, targeted=True))
    assert outcome.after.tolist() == [1, 1, 1, 2]
    assert (
        evaluate(model(), [(IMAGES, LABELS)], partial(jsma, theta=0.5, gamma=0.5)).counts.n == 4
    )  # it has its own


@pytest.mark.parametrize("targets", [2, lambda logits, labels: torch.full_like(labels, 2, dtype=torch.uint8)])
def test_with_targets_success_is_reaching_them(targets: Any) -> None:
    """eps 0.5 moves any pixel to 0 or 1, so that class 2 is reached by hand's computing: 1 - 0.2 against 0.1."""
    outcome = evaluate(model(), [(IMAGES, LABELS)], partial(PGD, targeted=True), targets=targets)
    assert outcome.after.tolist() == [2] * 4
    assert (outcome.targeted_success.hits, outcome.targeted_success.n) == (3, 3)  # the 4th was wrong before
    near = evaluate(
        model(), [(IMAGES, LABELS)], partial(PGD, eps=0.1, step_size=0.1, targeted=True), targets=targets
    )
    assert (near.targeted_success.hits, near.targeted_success.n) == (0, 3)  # 0.6 - 0.2 against 0.4 + 0.1
    assert near.counts.correct_after == 3


def test_leaving_the_class_is_not_reaching_the_target() -> None:
    outcome = evaluate(
        model(), [(IMAGES, LABELS)], lambda m, x, y: PGD(m, x, torch.ones_like(y), targeted=True), targets=2
    )
    assert (outcome.counts.flipped, outcome.targeted_success.hits) == (3, 0)


def test_an_image_of_the_target_class_is_not_counted() -> None:
    outcome = evaluate(
        model(),
        [(IMAGES, LABELS)],
        partial(PGD, targeted=True),
        targets=lambda z, y: torch.tensor([0, 1, 2, 0]),
    )
    assert outcome.after.tolist() == [0, 1, 2, 0]
    assert (outcome.targeted_success.hits, outcome.targeted_success.n) == (2, 2)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (3, "targets must be classes from 0 to 2, got .3."),
        (-1, "targets must be classes from 0 to 2, got .-1."),
        (lambda logits, labels: labels, "every target is the true class"),
        (lambda logits, labels: labels[:, None], r"targets must have shape \(4,\)"),
        (lambda logits, labels: logits, "targets must be a tensor of integer"),
    ],
)
def test_targets_that_are_none_are_refused(targets: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        evaluate(model(), [(IMAGES, LABELS)], partial(PGD, targeted=True), targets=targets)


def test_targets_need_an_attack_and_success_needs_targets() -> None:
    with pytest.raises(InputError, match="targets without an attack"):
        evaluate(model(), [(IMAGES, LABELS)], None, targets=1)
    with pytest.raises(InputError, match="no targeted attack"):
        _ = evaluate(model(), [(IMAGES, LABELS)], None).targeted_success


def test_outside_of_evaluate_labels_are_targets() -> None:
    found = pgd(Linear(torch.eye(3)), IMAGES, LABELS, eps=0.5, step_size=0.25, steps=4, targeted=True)
    assert found.flatten(1).argmax(1).tolist() == LABELS.tolist()
