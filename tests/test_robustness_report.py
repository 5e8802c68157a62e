"""The robustness report: sound models pass every item, and every item fires on the defect it is there for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from attack_models import stripes, trained
from torch import Tensor, nn

from meddef.attacks import fgsm, noise, pgd
from meddef.audit import robustness_report
from meddef.errors import InputError
from meddef.robustness import BUDGETS, CheckResult
from meddef.robustness.comparison import sign_test
from meddef.robustness.evidence import Budget, Evidence
from meddef.robustness.recorder import Recorder
from meddef.robustness.registry import CHECKS

EPS = 0.08
CLASSES = 3
LOADER = [stripes(16, CLASSES, 28, seed=999), stripes(16, CLASSES, 28, seed=998)]


@pytest.fixture(autouse=True)
def _small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Budget(32, steps=8, strong_steps=12, restarts=1, queries=150, ensemble_steps=3, planted=4)
    monkeypatch.setitem(BUDGETS, "quick", small)


def report(model: nn.Module, **settings: Any) -> dict[str, CheckResult]:
    items = robustness_report(model, LOADER, eps=settings.pop("eps", EPS), **settings)
    assert [item.name for item in items] == [check.name for check in CHECKS]
    return {item.name: item for item in items}


def names(items: dict[str, CheckResult], verdict: str) -> set[str]:
    return {name for name, item in items.items() if item.verdict == verdict}


class Changed(nn.Module):
    """A sound model with something done to its input or its logits."""

    def __init__(
        self,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> None:
        super().__init__()
        self.model, self.before, self.after = trained(CLASSES), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(self.before(x)))


class CutBesideSkip(nn.Module):
    """A body that passes no gradient on, as layers of dynamic int8 do, beside a skip connection that has one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = trained(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        skip = x.flatten(1)[:, : 9 * CLASSES].reshape(len(x), CLASSES, 9).mean(2)
        return self.body(x.detach()) + 0.01 * skip


def rounded(x: Tensor) -> Tensor:
    """Sixteen grey levels; autograd's derivative of rounding is zero."""
    return (x * 15).round() / 15


def coarse(logits: Tensor) -> Tensor:
    """Logits rounded to multiples of four, with a derivative of one that the function has not."""
    return logits + (4 * (logits / 4).round() - logits).detach()


def shattered(x: Tensor) -> Tensor:
    """A ripple, small in size and steep in slope."""
    return x + 0.01 * torch.sin(4000 * x)


def noisy(logits: Tensor) -> Tensor:
    return logits + 0.5 * torch.randn_like(logits)


def one_class(logits: Tensor) -> Tensor:
    return logits * 0 + torch.tensor([1.0, 0, 0])


def good(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, **settings: Any) -> Tensor:
    return pgd(model, x, y, **{"eps": eps, "step_size": eps / 3, "steps": 8, **settings})


def descending(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    return good(model, x, y, eps=eps, targeted=True)  # towards the true class


def returns_clean(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    try:
        raise RuntimeError
    except RuntimeError:
        return x


def forgets(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    """Finds adversarial images and gives back something else."""
    found = good(model, x, y, eps=eps)
    with torch.no_grad():
        model(found)
    return x + 0.2 * (found - x)


def in_another_unit(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    return x + 5 * eps * (good(model, x, y, eps=eps) - x).sign()


def stuck_at_small_radii(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    return good(model, x, y, eps=min(eps, 0.02))


def lost_at_large_radii(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    return good(model, x, y, eps=0.01 if eps > EPS else eps)


TIMID = partial(good, steps=1, step_size=0.001, random_start=False)
SHORT = partial(good, steps=8, step_size=EPS / 10)  # 0.8 eps from a random start
DEFECTS: dict[str, tuple[nn.Module, Any, set[str]]] = {
    "gradient masked by rounding": (
        Changed(before=rounded), None,
        {"gradient_exists", "gradient_beats_random_directions", "gradient_free_does_not_win", "worst_case_is_near",
         "finds_planted", "transfer_does_not_win", "everything_falls"},
    ),
    "no gradient": (Changed(before=Tensor.detach), None, {"gradient_exists"}),
    "logits of large scale": (Changed(after=lambda logits: 1e4 * logits), None, {"gradient_does_not_vanish"}),
    "quantised, gradient made up": (Changed(after=coarse), None, {"gradient_agrees"}),
    "gradient cut beside a skip connection": (CutBesideSkip(), None,
        {"gradient_agrees", "gradient_free_does_not_win", "worst_case_is_near"}),
    "shattered gradient": (Changed(before=shattered), None, {"gradient_agrees"}),
    "noise in the logits": (Changed(after=noisy), None, {"deterministic"}),
    "collapsed to one class": (Changed(after=one_class), None, {"better_than_one_class", "everything_falls"}),
    "one timid step": (trained(CLASSES), TIMID,
        {"converged", "iterative_beats_single_step", "worst_case_is_near", "finds_planted", "twin_falls"}),
    "steps made for a smaller radius": (trained(CLASSES, eps=0.05), SHORT, {"attack_reaches"}),
    "loss descended": (trained(CLASSES), descending,
        {"loss_rises", "converged", "chance_at_large_epsilon", "everything_falls", "finds_planted", "twin_falls"}),
    "exceptions return the clean image": (trained(CLASSES), returns_clean,
        {"attack_moves", "loss_rises", "converged", "gradient_free_does_not_win"}),
    "success not returned": (trained(CLASSES), forgets, {"success_is_returned"}),
    "radius in another unit": (trained(CLASSES), in_another_unit, {"attack_stays_in_bounds"}),
    "radius capped": (trained(CLASSES), stuck_at_small_radii, {"chance_at_large_epsilon", "everything_falls"}),
    "weaker at large radii": (trained(CLASSES), lost_at_large_radii, {"rises_with_epsilon"}),
}  # fmt: skip


aloud = pytest.mark.filterwarnings("ignore::meddef.attacks.ShortReachWarning")


def marked(defect: str) -> Any:
    """The defects that are steps too short say so aloud, too."""
    short = defect in ("one timid step", "steps made for a smaller radius")
    return pytest.param(defect, marks=aloud if short else ())


@pytest.mark.parametrize("defect", [marked(defect) for defect in DEFECTS])
def test_every_planted_defect_fails_the_right_items(defect: str) -> None:
    model, attack, expected = DEFECTS[defect]
    failed = names(report(model, attack=attack, twin=trained(CLASSES)), "FAIL")
    assert expected <= failed


def test_noise_that_does_as_much_as_the_attack_is_seen() -> None:
    items = report(trained(CLASSES), attack=noise, eps=0.9)
    assert items["noise_does_little"].numbers["broken_by_noise"] > 2
    assert items["noise_does_little"].verdict == "FAIL"


def test_every_item_has_a_defect_that_it_fires_on() -> None:
    fired = set().union(*(expected for _, _, expected in DEFECTS.values())) | {"noise_does_little"}
    assert fired == {check.name for check in CHECKS}


@pytest.mark.parametrize("eps", [0.02, EPS])
@pytest.mark.parametrize("defended", [0.0, 0.05])
def test_a_sound_model_fails_nothing(defended: float, eps: float) -> None:
    items = report(trained(CLASSES, eps=defended), eps=eps, twin=trained(CLASSES))
    assert {name: item.detail for name, item in items.items() if item.verdict != "PASS"} == {}


def test_what_cannot_be_checked_is_not_applicable() -> None:
    twins = {"transfer_does_not_win", "twin_falls"}
    assert names(report(trained(CLASSES)), "N-A") == twins
    blind = report(Changed(before=Tensor.detach))
    assert blind["attack_moves"].detail.startswith("The model gives no finite gradient")
    wrong = report(Changed(after=lambda logits: -logits))
    assert wrong["gradient_exists"].detail == "The model classifies 0 images correctly; 8 are needed."
    assert wrong["better_than_one_class"].verdict == "FAIL"


def test_numbers_follow_from_counting() -> None:
    item = report(trained(CLASSES))["iterative_beats_single_step"]
    model, attacked = trained(CLASSES), {}
    iterative = partial(good, eps=EPS, step_size=2.5 * EPS / 8)
    for name, attack in (("single", partial(fgsm, eps=EPS)), ("iterative", iterative)):
        found = [attack(model, x, y) for x, y in LOADER]
        attacked[name] = sum(
            int((model(a).argmax(1) != y).sum()) for a, (_, y) in zip(found, LOADER, strict=True)
        )
    assert item.numbers["images"] == 32
    assert item.numbers["broken_by_weaker"] == attacked["single"]
    assert item.numbers["broken_by_stronger"] == pytest.approx(attacked["iterative"], abs=1)  # other batches


def test_more_effort_is_spent_only_on_what_resists() -> None:
    evidence = Evidence(trained(CLASSES), LOADER, eps=EPS, budget=BUDGETS["quick"], attack=None, twin=None)
    among = evidence.y == 1
    tried: list[Tensor] = []

    def flip(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        tried.append(y)
        return stripes(len(y), 1, 28, seed=0)[0]  # all of class 0

    assert torch.equal(evidence.falls(flip, among), among)
    assert len(tried) == 1
    assert torch.equal(tried[0], evidence.y[among])
    assert not evidence.falls(flip, among & ~among).any()
    assert len(tried) == 1


@aloud
@pytest.mark.parametrize(
    ("settings", "away", "way"),
    [
        ({"steps": 3, "step_size": 0.01, "random_start": False}, False, 0.03),
        ({"steps": 3, "step_size": 0.01}, True, 0.03),
        ({"steps": 1, "step_size": 0.01}, True, 0.01),
        ({"steps": 4, "step_size": 0.04, "random_start": False, "stop": "first"}, False, float("inf")),
    ],
)
def test_the_way_of_an_attack_is_the_sum_of_its_steps(
    settings: dict[str, Any], away: bool, way: float
) -> None:
    images, labels = LOADER[0]
    recorder = Recorder(trained(CLASSES))
    recorder.expect(images, labels, EPS)
    found = pgd(recorder, images, labels, eps=EPS, **settings)
    recorder.go_on(found)
    seen = recorder.seen()
    assert seen.away.tolist() == [away] * 16
    if way < 1:
        assert seen.way.tolist() == pytest.approx([way] * 16, rel=1e-4)
    else:  # images that fell left the batch, and the others could not be followed any more
        assert bool((recorder.model(found).argmax(1) != labels).any())
        assert seen.way.isinf().all()


def test_steps_in_place_are_followed() -> None:
    images, labels = LOADER[0]
    recorder = Recorder(trained(CLASSES))
    recorder.expect(images, labels, EPS)
    x = images.clone()
    for _ in range(4):
        recorder(x)
        x += 0.01
    recorder.go_on(x)
    assert recorder.seen().way.tolist() == pytest.approx([0.04] * 16, rel=1e-4)


def test_an_attack_that_asks_nothing_has_the_way_to_what_it_returns() -> None:
    images, labels = LOADER[0]
    recorder = Recorder(trained(CLASSES))
    recorder.expect(images, labels, EPS)
    recorder.go_on((images + EPS).clamp(0, 1))
    assert not recorder.seen().away.any()
    assert recorder.seen().way.tolist() == pytest.approx([EPS] * 16, rel=1e-4)


def test_sign_test_by_hand() -> None:
    assert sign_test(3, 0) == 1 / 8
    assert sign_test(0, 3) == 1.0
    assert sign_test(2, 1) == 4 / 8


def test_the_model_is_left_as_it_was_found() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(0.5), nn.Linear(784, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    report(model)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l2"}, "norm must be one of linf; got 'l2'"),
        ({"budget": "huge"}, "budget must be one of brief, quick, standard"),
        ({"eps": 0.0}, r"eps must be above 0 and at most 1 \(pixels are in \[0, 1\]\), got 0.0"),
        ({"eps": 8.0}, "eps must be above 0 and at most 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        robustness_report(trained(CLASSES), LOADER, **{"eps": EPS, **settings})


def test_no_image_and_bad_images_are_refused() -> None:
    with pytest.raises(InputError, match="the loader is empty: nothing to check"):
        robustness_report(trained(CLASSES), [], eps=EPS)
    with pytest.raises(InputError, match="keep the normalisation inside the model"):
        robustness_report(trained(CLASSES), [(LOADER[0][0] - 1, LOADER[0][1])], eps=EPS)


def test_progress_and_as_dict() -> None:
    seen: list[tuple[int, int]] = []
    items = robustness_report(
        trained(CLASSES), LOADER, eps=EPS, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(i + 1, len(CHECKS)) for i in range(len(CHECKS))]
    assert list(items[0].as_dict()) == ["name", "verdict", "numbers", "detail", "also", "source"]
