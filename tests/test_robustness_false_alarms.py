"""Robustness reports of honest models without a defence: what chance or a rough surface explains is no FAIL."""

from typing import Any

import pytest
import torch
from attack_models import stripes, trained
from scipy.stats import binom
from test_robustness_report import EPS, LOADER, Changed, good
from torch import Tensor, nn

from meddef.attacks import noise
from meddef.audit import robustness_report
from meddef.robustness import CheckResult
from meddef.robustness.class_prior import better_than_one_class
from meddef.robustness.comparison import clearly_more, few, tail
from meddef.robustness.evidence import BUDGETS, Evidence
from meddef.robustness.strength import noise_does_little


class Reads(nn.Module):
    """Answers the class that an image's grey says: a third is class 0, two thirds class 1."""

    def forward(self, x: Tensor) -> Tensor:
        grey = x.mean((1, 2, 3))
        return torch.stack([0.5 - grey, grey - 0.5], 1)


def prior(labels: list[int], answers: list[int], budget: str = "brief") -> Any:
    x = (1 + torch.tensor(answers)).view(-1, 1, 1, 1).expand(-1, 1, 4, 4) / 3
    loader = [(x, torch.tensor(labels))]
    evidence = Evidence(Reads(), loader, eps=0.1, budget=BUDGETS[budget], attack=None, twin=None)
    return better_than_one_class(evidence)


def test_few_images_do_not_tell_a_good_model_from_one_answer() -> None:
    """21 of 24 is 88 %, 95 % from 69 %; the largest class is 75 %."""
    found = prior([0] * 18 + [1] * 6, [0] * 18 + [1] * 3 + [0] * 3)
    assert found.passes is None
    assert found.detail.endswith("So few images do not tell these apart: give more.")
    assert found.numbers["accuracy"] == 21 / 24
    assert prior([0] * 18 + [1] * 6, [0] * 18 + [1] * 6).passes
    assert prior([0] * 18 + [1] * 6, [0] * 17 + [1] * 7).passes is True
    for poor in ([0] * 24, [0] * 15 + [1] * 6 + [0] * 3, [1] * 24):
        assert prior([0] * 18 + [1] * 6, poor).passes is False


def test_a_loader_that_is_not_shuffled_is_named() -> None:
    found = prior([0] * 40, [0] * 40)
    assert found.passes is None
    assert "of one class: shuffle the loader" in found.detail
    assert prior([0] * 20, [0] * 20).passes is False  # there are no others


@pytest.mark.parametrize(("of", "share"), [(6, 0.1), (16, 0.05), (64, 0.05), (64, 0.5)])
def test_tails_are_binomial(of: int, share: float) -> None:
    for count in range(of + 1):
        assert tail(count, of, share) == pytest.approx(binom.sf(count - 1, of, share), rel=1e-9)


@pytest.mark.parametrize(
    ("count", "of", "clear"),
    [
        (3, 16, False),
        (4, 16, True),
        (2, 8, False),
        (3, 8, True),
        (9, 64, False),
        (10, 64, True),
        (11, 60, True),
    ],
)
def test_what_falls_to_more_effort_must_be_clearly_more(count: int, of: int, clear: bool) -> None:
    """From 64 images on the share decides, as it did; of 16 three may be chance."""
    assert clearly_more(count, of, 0.15) == clear


def test_one_image_is_no_finding_where_some_may_be() -> None:
    assert few(1, 12, "").passes
    assert not few(2, 12, "").passes
    assert not few(4, 64, "").passes
    assert not few(1, 64, "", share=0).passes


def report(model: nn.Module, **settings: Any) -> dict[str, CheckResult]:
    torch.manual_seed(0)
    found = robustness_report(
        model, settings.pop("loader", LOADER), **{"eps": EPS, "budget": "brief", **settings}
    )
    return {item.name: item for item in found}


def test_a_model_that_everything_breaks_fails_nothing_for_noise() -> None:
    """Noise breaks 20 of 24 and the attack all: not robust, which is no fault of the attack."""
    x, y = stripes(24, 4, 28, seed=7)
    evidence = Evidence(trained(4), [(x, y)], eps=0.9, budget=BUDGETS["brief"], attack=None, twin=None)
    found = noise_does_little(evidence)
    assert 2 * found.numbers["broken_by_noise"] > found.numbers["broken_by_attack"] == len(evidence.x)
    assert found.passes
    evidence = Evidence(trained(4), [(x, y)], eps=0.9, budget=BUDGETS["brief"], attack=noise, twin=None)
    assert not noise_does_little(evidence).passes


def test_what_falls_at_eps_need_not_fall_again_at_one() -> None:
    def lost(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
        return good(model, x, y, eps=eps) if eps <= 0.2 else x

    items = report(trained(3), attack=lost, eps=0.2)
    assert (
        items["iterative_beats_single_step"].numbers["broken_by_stronger"]
        == items["everything_falls"].numbers["images"]
    )
    assert items["everything_falls"].verdict == "PASS"
    assert items["rises_with_epsilon"].verdict == "FAIL"


def rough(x: Tensor) -> Tensor:
    """Bends every fifth of a hundredth, as the surface of an undefended ResNet does."""
    return x + 0.008 * torch.sin(300 * x)


def test_a_rough_surface_is_no_shattered_gradient() -> None:
    """Over a 32nd of 0.5 a network may bend; over a quarter of a grey level its gradient says where it goes."""
    item = report(Changed(before=rough), eps=0.5)["gradient_agrees"]
    assert item.verdict == "PASS", item.detail
    assert "over 0.00098" in item.detail


@pytest.mark.parametrize("eps", [2 / 255, 8 / 255, 0.1, 0.5])
def test_an_honest_network_fails_nothing(eps: float) -> None:
    assert [item.detail for item in report(trained(3), eps=eps).values() if item.verdict == "FAIL"] == []
