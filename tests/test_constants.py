"""Constants of attacks, of the audit and of joined batches that golden cells are too short to see.

Each has a value by hand, from the paper that it comes from, and a change of the constant moves that value.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from attack_models import Linear
from torch import Tensor

from meddef.attacks import fab
from meddef.attacks.apgd import _halve, _State
from meddef.attacks.square import HALVINGS, _side
from meddef.evaluation.attack_checkpoint import joined
from meddef.evaluation.metrics import Evaluation
from meddef.robustness import evidence


def rising() -> None:
    """APGD, condition 1: of 20 steps, 15 (three quarters) with a rising loss are too few and 16 are enough."""
    rises = torch.tensor([15.0, 16.0])
    given: dict[str, Tensor] = {field.name: torch.zeros(2, 1) for field in fields(_State)}
    step, flags = torch.ones(2, 1), torch.zeros(2, dtype=torch.bool)
    given |= {"rises": rises, "step": step, "halved": flags, "caught": flags}
    given |= {
        "checked_loss": torch.zeros(2),
        "best_loss": torch.ones(2),
    }  # not stalled: condition 2 is silent
    state = _State(**given)
    _halve(state, 20)
    assert state.halved.tolist() == [True, False]
    assert state.step.flatten().tolist() == [0.5, 1.0]


def halvings() -> None:
    """Square: the share is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries."""
    for halved, query in enumerate((10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)):
        for done, times in ((query, halved), (query + 1, halved + 1)):
            assert _side(done / 10000, 0.8, 224, 224) == round(math.sqrt(0.8 / 2**times * 224**2))


def backward() -> None:
    """FAB on a linear boundary that is 0.1 away; first found at 1.05 x 0.1.

    Then back to 0.9 of that, 0.0945. The boundary is a = 0.0055 from there and b = 0.1 from the image, so that the mean
    has weights 1 - alpha and alpha = a / (a + b), and lies at
    (1 - alpha) (0.0945 + 1.05 a) + alpha 1.05 b = 0.100521.
    """
    model = Linear(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    x, labels = torch.tensor([[0.7, 0.5, 0.7, 0.5]]), torch.tensor([0])
    start = 0.9 * 0.105
    a, b = 0.1 - start, 0.1
    alpha = a / (a + b)
    by_hand = (1 - alpha) * (start + 1.05 * a) + alpha * 1.05 * b
    assert by_hand == pytest.approx(0.100521, abs=1e-6)
    found = fab(model, x, labels, eps=0.104, steps=2)  # the first, at 0.105, is not near enough
    torch.testing.assert_close((found - x).abs(), torch.full_like(x, by_hand), rtol=0, atol=2e-6)


def strong_steps() -> None:
    """The audit's stronger PGD: 12 steps that add up to 2.5 eps, seen on a loss that has one direction.

    From the image the iterate is at k x 2.5 eps / 12 after k steps, until it meets the edge after five.
    """
    seen: list[Tensor] = []
    model = Linear(torch.tensor([[1.0, 0.0]] * 4))
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    x = torch.full((1, 4), 0.5)
    evidence._pgd(model, x, torch.tensor([0]), eps=0.12, steps=12, random_start=False)
    moved = [float((point - x).abs().max()) for point in seen[:6]]
    assert moved == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.12], abs=1e-6)


def norms() -> None:
    """Batches joined: the largest change of any batch, whichever comes first."""
    nothing = np.zeros(1, dtype=np.int64)
    sizes = [(0.1, 7), (0.3, 9), (0.2, 5)]
    whole = joined([Evaluation(nothing, nothing, nothing, linf, l0, 2) for linf, l0 in sizes])
    assert (whole.linf, whole.l0) == (0.3, 9)


@pytest.mark.parametrize("check", [rising, halvings, backward, strong_steps, norms])
def test_it_has_the_value_by_hand(check: Callable[[], None]) -> None:
    check()


SHIFTED = [
    (*HALVINGS[:place], factor * HALVINGS[place], *HALVINGS[place + 1 :])
    for place in range(len(HALVINGS))
    for factor in (0.9, 1.1)
]


@pytest.mark.parametrize(
    ("check", "place", "value"),
    [
        (rising, "meddef.attacks.apgd.RISING", 0.74),
        (rising, "meddef.attacks.apgd.RISING", 0.8),
        *((halvings, "meddef.attacks.square.HALVINGS", value) for value in SHIFTED),
        (halvings, "meddef.attacks.square.HALVINGS", HALVINGS[:-1]),
        (backward, "meddef.attacks.fab.BACKWARD", 0.89),
        (backward, "meddef.attacks.fab.BACKWARD", 0.92),
        (strong_steps, "meddef.attacks.reach.REACH", 2.4),
        (strong_steps, "meddef.attacks.reach.REACH", 2.6),
        (norms, "meddef.evaluation.attack_checkpoint.max", min),
        (norms, "meddef.evaluation.attack_checkpoint.max", lambda values: next(iter(values))),
        (norms, "meddef.evaluation.attack_checkpoint.max", lambda values: list(values)[-1]),
    ],
)
def test_another_value_is_noticed(
    check: Callable[[], None], place: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = place.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, value, raising=name != "max")
    with pytest.raises(AssertionError):
        check()
