"""Attacks whose host looks only every few steps, as on a GPU, find what they find when it always looks."""

from typing import Any

import pytest
import torch
from attack_models import answers, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ATTACKS
from meddef.attacks.contract import bad_gradient
from meddef.attacks.host_checks import EVERY, Looks
from meddef.errors import InputError

QUICK: dict[str, dict[str, Any]] = {
    "apgd": {"eps": 0.05, "steps": 30, "loss": "margin"},
    "fab": {"eps": 0.05, "steps": 12},
    "square": {"eps": 0.08, "queries": 60},
}


def seldom(monkeypatch: pytest.MonkeyPatch, every: int = 4) -> None:
    made = Looks.__init__
    monkeypatch.setattr(Looks, "__init__", lambda self, device, _=None: made(self, device, every))


@pytest.mark.parametrize("name", QUICK)
def test_verdicts_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, labels) = trained(4), stripes(64, 4, 28, seed=999)
    x = x[answers(model, x) == labels]
    labels = answers(model, x)

    def found() -> Tensor:
        return ATTACKS[name](model, x, labels, **QUICK[name])

    always = found()
    seldom(monkeypatch)
    rarely = found()
    fooled = [answers(model, adv) != labels for adv in (always, rarely)]
    assert int(fooled[0].sum()) > 5
    if name != "fab":
        assert torch.equal(*fooled)
    if name == "square":
        assert torch.equal(always, rarely)
    if name == "fab":  # an image that waits for a look comes nearer meanwhile, so that another may fall
        assert (fooled[1] | ~fooled[0]).all()
        near = [(adv - x).abs().flatten(1).amax(1) for adv in (always, rarely)]
        assert (near[1] <= near[0] + 1e-6).all()


class Late(nn.Module):
    """NaN logits of one image from its third forward pass on."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.passes = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        broken = (torch.arange(len(x)) == 2) & (self.passes > 5)
        return self.inner(x).masked_fill(broken[:, None], torch.nan)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", QUICK)
def test_what_is_not_finite_is_refused(name: str, every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seldom(monkeypatch, every)
    model, (x, labels) = trained(4), stripes(8, 4, 28, seed=999)
    tiny = {**QUICK[name], "eps": 1e-3}
    with pytest.raises(InputError, match="NaN or infinite logits for image 2"):
        ATTACKS[name](Late(model), x, labels, **tiny)


def test_the_earliest_is_named() -> None:
    looks = Looks(torch.device("cpu"), 3)
    good, bad = torch.ones(4, 2), torch.ones(4, 2)
    bad[3, 1] = torch.inf
    looks.logits(good)
    looks.gradient(bad)
    looks.logits(bad)
    with pytest.raises(InputError) as error:
        looks.look()
    assert str(error.value) == str(bad_gradient(torch.tensor([True, True, True, False])))
    looks.look()


def test_a_cpu_looks_always_and_a_gpu_every_few_steps() -> None:
    assert all(Looks(torch.device("cpu")).due(step) for step in range(5))
    due = [step for step in range(9) if Looks(torch.device("cuda")).due(step)]
    assert due == [EVERY - 1, 2 * EVERY - 1]
