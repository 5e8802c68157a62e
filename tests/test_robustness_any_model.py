"""Robustness reports on models of other make: token-wise heads, layers called by name, models that break in a check."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meddef.audit import robustness_report
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget
from meddef.robustness.headline import closing, headline, words
from meddef.robustness.planted import Features


@pytest.fixture(autouse=True)
def _small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", Budget(16, 3, 3, 1, 4, 2, 3))


class Tokens(nn.Module):
    """A linear head at every token, averaged afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 4, stride=4)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x).tanh().flatten(2).transpose(1, 2)).mean(1)


class ByName(Tokens):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(input=self.embed(x).tanh().mean((2, 3)))


class BreaksOnSingles(Tokens):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            raise RuntimeError("no batch of one\nand more lines")
        return super().forward(x)


def report(model: nn.Module) -> list:
    torch.manual_seed(0)
    images = torch.rand(16, 3, 8, 8)
    with torch.no_grad():
        labels = model.eval()(images).argmax(1)
    return robustness_report(model, [(images, labels)], eps=8 / 255)


@pytest.mark.parametrize("made", [Tokens, ByName])
def test_something_is_planted_in_features_of_any_layout(made: type[nn.Module]) -> None:
    torch.manual_seed(1)
    model = made()
    assert Features(model)(torch.rand(2, 3, 8, 8)).shape == (2, 6)
    planted = next(item for item in report(model) if item.name == "finds_planted")
    assert planted.numbers["planted"] > 0
    assert planted.verdict == "PASS"


def test_what_torch_compile_wraps_is_asked() -> None:
    """Without compiling: the wrapper hides the model's modules from hooks, and holds it as _orig_mod."""

    class Wrapper(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return self._orig_mod(x)

    assert Features(Wrapper(Tokens()))(torch.rand(2, 3, 8, 8)).requires_grad


def test_an_error_in_one_check_costs_that_check_alone() -> None:
    torch.manual_seed(1)
    items = report(BreaksOnSingles())
    lost = [item for item in items if "could not be made" in item.detail]
    assert [item.name for item in lost] == ["finds_planted"]
    assert lost[0].verdict == "N-A"
    assert "(RuntimeError): no batch of one" in lost[0].detail
    assert "more lines" not in lost[0].detail
    assert {item.verdict for item in items} >= {"PASS"}


def test_nothing_planted_is_no_failure() -> None:
    class Flat(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(0 * self.embed(x).mean((2, 3))) + x.mean((1, 2, 3))[:, None] * torch.tensor(
                [1.0, -1.0]
            )

    torch.manual_seed(1)
    planted = next(item for item in report(Flat()) if item.name == "finds_planted")
    assert planted.verdict == "N-A"
    assert "nothing was planted" in planted.detail


def test_the_headline_says_what_is_left_of_how_many() -> None:
    torch.manual_seed(1)
    items = report(Tokens())
    found = headline(items)
    worst = next(item for item in items if item.name == "worst_case_is_near").numbers
    assert found["images"] == 16
    assert found["robust_accuracy"] == worst["robust_accuracy"]
    low, high = found["robust_accuracy_interval"]
    assert low <= found["robust_accuracy"] <= high
    assert sum(found["verdicts"].values()) == len(items)
    assert f"worst case over all attacks tried: {found['robust_accuracy']:.1%}" in words(found, 8 / 255)
    assert f"{found['verdicts']['PASS']} PASS. PASS means that the attacks work" in closing(found)
    assert "could not be measured" in words({**found, "robust_accuracy": None}, 8 / 255)


def test_an_error_of_the_attack_under_test_is_the_caller_s() -> None:
    torch.manual_seed(1)
    images = torch.rand(16, 3, 8, 8)
    model = Tokens().eval()
    loader = [(images, model(images).argmax(1))]
    with pytest.raises(TypeError, match="unexpected keyword argument 'eps'"):
        robustness_report(model, loader, eps=0.03, attack=lambda model, x, y: x)
    with pytest.raises(ZeroDivisionError):
        robustness_report(model, loader, eps=0.03, attack=lambda model, x, y, eps: x / (1 // 0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_format_too_coarse_for_a_small_step_is_no_finding(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    model = Tokens().to(dtype).eval()
    images = torch.rand(16, 3, 8, 8).to(dtype)
    items = robustness_report(model, [(images, model(images).argmax(1))], eps=0.03)
    (item,) = (item for item in items if item.name == "gradient_agrees")
    assert item.verdict == "N-A"
    assert "cannot be moved by as little as 0.00094" in item.detail


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "wrap", [torch.jit.script, nn.DataParallel, nn.Module.double], ids=["script", "DP", "64"]
)
def test_the_same_model_in_another_wrapping_has_the_same_report(wrap: Any) -> None:
    torch.manual_seed(1)
    model, images = Tokens().eval(), torch.rand(16, 3, 8, 8)
    labels = model(images).argmax(1)
    plain = robustness_report(model, [(images, labels)], eps=0.03)
    wrapped = wrap(model)
    found = robustness_report(wrapped, [(images.to(next(wrapped.parameters()).dtype), labels)], eps=0.03)
    assert [item.verdict for item in found] == [item.verdict for item in plain]
