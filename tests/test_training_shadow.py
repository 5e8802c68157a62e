"""The attack of training on the GPU's stand-in, run eagerly on the CPU: it is compared with the model once an epoch."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_models import cnn, images
from golden import network, phantoms
from torch import Tensor, nn

from meddef.attacks.shadow import Shadow
from meddef.models import VARIANTS, build_model
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import inner_attack, train
from meddef.training.inner_attack import InnerAttack

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
ATTACK: dict[str, Any] = {"eps": 0.03, "step_size": 0.02, "seed": 0}


@pytest.fixture
def shadowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients come from a shadow in bfloat16, as on a GPU."""

    def source(model: nn.Module, x: Tensor, *, fast: bool, precision: str) -> Shadow:
        return Shadow(model, fold=fast, dtype=torch.bfloat16)

    monkeypatch.setattr(inner_attack, "gradient_source", source)


class Counting(nn.Module):
    """A factor that is a number and no tensor, which no shadow takes over; counts the times it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.factor, self.runs = cnn().eval(), 1.0, 0

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, torch.fx.Proxy):
            self.runs += 1
        return self.factor * self.inner(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rounding_explains_where_a_shadow_is_and_not_a_change(
    variant: str, dtype: torch.dtype | None
) -> None:
    torch.manual_seed(0)
    model = build_model(variant, 2, mean=0.4, std=0.2).train()
    x, labels = images(6, size=32), LABELS % 2
    with torch.no_grad():
        model(x)
        model.eval()
        model.get_submodule("network").get_parameter(
            next(name for name, p in model.network.named_parameters() if p.ndim == 2 and len(p) == 2)
        ).mul_(10)  # logits of the size that training gives them
    for fold in (False, True):
        shadow = Shadow(model, fold=fold, dtype=dtype)
        apart, most = shadow.departure(model, x, labels)
        assert 0 < apart < most / 2
        with torch.no_grad():
            given, here = model(x), shadow(x)
        by_hand = [nn.functional.cross_entropy(logits, labels, reduction="none") for logits in (given, here)]
        assert apart == pytest.approx((by_hand[0] - by_hand[1]).abs().mean().item())
        with torch.no_grad():
            for parameter in shadow.parameters():
                parameter.mul_(1.1 if dtype else 1.01)
        apart, most = shadow.departure(model, x, labels)
        assert apart > most


def test_what_rounding_explains_by_hand() -> None:
    """One layer: 2 x 2^-8 x sqrt(2) x the largest logit, 3."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([-3.0, 1.0]))
    x, labels = torch.rand(2, 1, 1, 1), torch.tensor([0, 1])
    apart, most = Shadow(model, fold=False, dtype=torch.bfloat16).departure(model, x, labels)
    assert apart == 0
    assert most == pytest.approx(6 * 2**-8 * 2**0.5)


@pytest.mark.usefixtures("shadowed")
def test_a_shadow_that_cannot_follow_is_noticed_in_the_next_epoch_said_once_and_no_longer_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, x = Counting(), images(size=8)
    attack = InnerAttack(model, 3, "bf16")
    asked = []
    for factor in (1.0, 1.0, 4.0):
        model.factor = factor
        for _ in range(3):
            model.runs = 0
            attack(x, LABELS, **ATTACK)
            asked.append(model.runs)
        attack.new_epoch()
        if factor == 1.0:
            assert isinstance(attack._source, Shadow)
            assert not caplog.records
    assert asked[:6] == [1, 0, 0, 1, 0, 0]  # once an epoch, in its first batch
    assert asked[6:] == [1 + 3, 3, 3]  # then every gradient is the model's
    assert attack._source is model
    assert len(caplog.records) == 1
    assert "attacks the model" in caplog.text


@pytest.mark.usefixtures("shadowed")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_shadow_that_gives_no_number_is_no_longer_used(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    model, x = cnn().eval(), images()
    attack = InnerAttack(model, 3, "bf16")
    attack(x, LABELS, **ATTACK)
    shadow = attack._source
    assert isinstance(shadow, Shadow)
    shadow.refresh = lambda: shadow.network.get_parameter("9.weight").data.fill_(value)  # type: ignore[method-assign]
    attack.new_epoch()
    attack(x, LABELS, **ATTACK)
    assert attack._source is model
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("shadowed")
def test_training_compares_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = TrainingSettings(
        epochs=3, batch_size=8, learning_rate=0.003, adversarial=AdversarialSettings(steps=2)
    )
    departures: list[tuple[float, float]] = []
    depart = Shadow.departure

    def spy(self: Shadow, *given: Any) -> tuple[float, float]:
        departures.append(depart(self, *given))
        return departures[-1]

    monkeypatch.setattr(Shadow, "departure", spy)
    train(
        network(), phantoms(24), phantoms(8, 40), settings, seed=1, folder=tmp_path / "well", progress=False
    )
    assert len(departures) == 3
    assert all(apart < most for apart, most in departures)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    departures.clear()
    monkeypatch.setattr(Shadow, "refresh", lambda self: None)  # planted: BatchNorm is never folded in
    train(network(), phantoms(24), phantoms(8, 40), settings, seed=1, folder=tmp_path / "ill", progress=False)
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert departures[-1][0] > departures[-1][1]
