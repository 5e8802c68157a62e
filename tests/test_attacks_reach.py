"""How far an iterative attack gets: the rule for its step size, and the warning where it cannot get to its eps."""

import inspect
import warnings
from typing import Any

import pytest
import torch
from attack_models import answers, cnn, images, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning, bim, fgsm, pgd
from meddef.attacks.reach import coarseness, needed, shortfall, step_size
from meddef.errors import InputError

LABELS = torch.tensor([0, 1, 2, 3])


def call(attack: Any = pgd, **settings: Any) -> list[str]:
    """What an attack on four images says about its reach."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        attack(cnn(), images(4), LABELS, **settings)
    assert all(warning.category is ShortReachWarning for warning in said)
    return [str(warning.message) for warning in said]


@pytest.mark.parametrize(
    ("eps", "step", "steps", "coarse"),
    [(0.01, 0.02, 2, True), (0.01, 0.019, 2, False), (0.01, 0.05, 1, False), (0.0, 0.01, 40, False)],
)
def test_steps_across_the_whole_ball(eps: float, step: float, steps: int, coarse: bool) -> None:
    """From 2 eps on, a step ends at a corner wherever it starts; a single one may be as long."""
    assert bool(coarseness(eps, step, steps)) is coarse


# The rule, by hand


@pytest.mark.parametrize("eps", [0.04, 0.05, 0.1, 0.2])
def test_the_paper_s_forty_steps_keep_the_paper_s_step(eps: float) -> None:
    """40 x 0.01 = 0.4, which is 2 eps up to eps = 0.2."""
    assert step_size(eps, 40) == 0.01


@pytest.mark.parametrize(("eps", "step"), [(0.01, 0.0025), (4 / 255, 1 / 255), (8 / 255, 2 / 255)])
def test_a_small_ball_takes_a_quarter_of_it(eps: float, step: float) -> None:
    """The paper's .01 would be the whole of an eps of .01, and two thirds of 4/255."""
    assert step_size(eps, 40) == pytest.approx(step, rel=1e-12)


@pytest.mark.parametrize("eps", [0.01, 0.02, 0.03, 0.04, 0.06])
def test_the_paper_s_training_step_stays_with_its_forty_steps(eps: float) -> None:
    """40 min(eps / 6, 0.003) is 6.7 eps or 0.12: enough for every eps of the schedule, which ends at 0.04."""
    step = min(eps / 6, 0.003)
    assert step_size(eps, 40, paper_step=step) == step


@pytest.mark.parametrize(
    ("eps", "steps", "step"),
    [
        (0.2001, 40, 2.5 * 0.2001 / 40),  # just beyond what the paper's step reaches
        (0.05, 10, 0.01),  # 0.1 is 2 eps exactly
        (0.05, 9, 2.5 * 0.05 / 9),
        (0.05, 1, 0.125),
        (0.1, 10, 0.025),
        (8 / 255, 8, 2 / 255),  # two eps exactly
        (8 / 255, 7, 20 / 255 / 7),
        (0.0, 3, 0.0),
    ],
)
def test_the_rule_by_hand(eps: float, steps: int, step: float) -> None:
    assert step_size(eps, steps) == pytest.approx(step, rel=1e-12)
    assert shortfall(eps, step_size(eps, steps), steps, random_start=True) == ""


def test_few_training_steps_take_larger_ones() -> None:
    """5 x 0.003 = 0.015 does not cross a ball of 0.03: 2.5 x 0.03 / 5 does."""
    assert step_size(0.03, 5, paper_step=0.003) == pytest.approx(0.015)


@pytest.mark.parametrize("steps", [0, -1])
def test_without_a_step_there_is_no_rule(steps: int) -> None:
    for ask in (lambda: step_size(0.05, steps), lambda: shortfall(0.05, 0.01, steps, random_start=True)):
        with pytest.raises(InputError, match=f"steps must be a whole number of at least 1, got {steps}"):
            ask()


# The words


def test_what_is_needed_is_twice_as_much_from_a_random_start() -> None:
    assert (needed(0.05, random_start=False), needed(0.05, random_start=True)) == (0.05, 0.1)


def test_the_words_say_what_is_missing_and_what_would_do() -> None:
    assert shortfall(0.05, 0.01, 4, random_start=False) == (
        "4 steps of 0.01 reach 0.04, and ε = 0.05 takes 0.05: use 4 steps of at least 0.0125"
    )
    assert shortfall(0.05, 0.01, 9, random_start=True) == (
        "9 steps of 0.01 reach 0.09, and ε = 0.05 from a random start takes 0.1: use 9 steps of at least 0.01111"
    )
    assert shortfall(0.05, 0.01, 5, random_start=False) == ""


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize(("unit", "steps"), [(0.1, 3), (0.01, 7), (1 / 255, 11), (0.003, 40), (0.07, 6)])
def test_the_boundary_is_reached_whatever_rounding_does(unit: float, steps: int, random_start: bool) -> None:
    """0.1 x 3 > 0.3 and 0.07 x 6 > 0.42 in floating point, 0.01 x 7 = 0.07: all reach; one in 10^5 less does not."""
    eps = sum([unit] * steps) / (2 if random_start else 1)
    assert shortfall(eps, unit, steps, random_start=random_start) == ""
    assert shortfall(eps, unit * (1 - 1e-5), steps, random_start=random_start) != ""


# The warning


def test_the_boundary_itself_does_not_warn() -> None:
    assert call(eps=0.15, step_size=0.1, steps=3) == []
    assert call(eps=0.3, step_size=0.1, steps=3, random_start=False) == []
    assert call(bim, eps=0.3, step_size=0.1, steps=3) == []
    assert call(eps=0.05, step_size=0.01, steps=10) == []
    for single in (torch.tensor(0.1), torch.tensor([0.1] * 4)):  # in float32, and ten times a tenth of it
        assert call(eps=single, step_size=single / 5, steps=10) == []


def test_below_the_boundary_it_warns_once() -> None:
    assert call(eps=0.15, step_size=0.0999, steps=3, restarts=2) == [
        "the attack cannot reach its ε: 3 steps of 0.0999 reach 0.2997, and ε = 0.15 from a random start takes 0.3: "
        "use 3 steps of at least 0.1"
    ]
    assert len(call(bim, eps=0.3, step_size=0.0999, steps=3)) == 1
    assert call(bim, eps=0.15, step_size=0.0999, steps=3) == []


def test_no_eps_needs_no_step() -> None:
    assert call(eps=0.0, step_size=0.0, steps=1) == []
    assert (
        call(eps=torch.tensor([0.0, 0.1, 0.0, 0.1]), step_size=torch.tensor([0.0, 0.2, 0, 0.2]), steps=1)
        == []
    )


@pytest.mark.parametrize(
    ("eps", "steps_of", "named"),
    [
        ([0.01, 0.02, 0.09, 0.03], [0.02] * 4, "ε = 0.09"),  # one step for all: the largest eps
        ([0.02, 0.02, 0.02, 0.02], [0.02, 0.01, 0.004, 0.02], "2 steps of 0.004"),
        ([0.01, 0.3, 0.1, 0.2], [0.01, 0.3, 0.01, 0.15], "ε = 0.1 "),  # the last lacks less
        (
            [0.1, 0.01, 0.01, 0.0],
            [0.075, 0.015, 0.015, 0.0],
            "ε = 0.1 ",
        ),  # only from a random start too short
    ],
)
def test_the_image_that_lacks_most_is_named(eps: list[float], steps_of: list[float], named: str) -> None:
    (said,) = call(eps=torch.tensor(eps), step_size=torch.tensor(steps_of), steps=2)
    assert named in said


def test_the_l2_norm_is_measured_by_the_length_of_its_steps() -> None:
    assert call(norm="l2", eps=3.0, step_size=0.6, steps=10) == []
    (said,) = call(norm="l2", eps=3.0, step_size=0.5, steps=10)
    assert said.endswith("ε = 3 from a random start takes 6: use 10 steps of at least 0.6")


@pytest.mark.parametrize("attack", [pgd, bim])
def test_the_warning_points_at_the_line_that_called(attack: Any) -> None:
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with pytest.warns(ShortReachWarning) as said:
        attack(cnn(), images(4), LABELS, eps=0.1, step_size=0.01, steps=2)
    assert (said[0].filename, said[0].lineno) == (__file__, line)


def test_a_model_without_gradient_is_told_of_at_the_line_that_called() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.zeros_(flat[1].weight)
    settings: dict[Any, dict[str, Any]] = {fgsm: {}, pgd: {"step_size": 0.1, "steps": 2}}
    for attack, more in settings.items():
        with pytest.warns(UserWarning, match="exactly zero") as said:
            attack(flat, images(4), LABELS, eps=0.1, **more)
        assert {warning.filename for warning in said} == {__file__}


# Why it matters


@pytest.mark.filterwarnings("ignore::meddef.attacks.ShortReachWarning")  # it is what is measured
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("defended", [0.0, 0.04])
def test_a_short_reach_makes_a_model_look_robust(defended: float, random_start: bool) -> None:
    """The same model, eps and number of steps: more images survive the steps that do not add up."""
    model, (x, labels) = trained(4, eps=defended), stripes(64, 4, 28, seed=999)
    eps = 0.045 if defended else 0.04

    def survivors(step: float) -> Tensor:
        adv = pgd(model, x, labels, eps=eps, step_size=step, steps=5, random_start=random_start)
        return answers(model, adv) == labels

    short, full = survivors(0.1 * eps), survivors(step_size(eps, 5))
    assert short.sum() > full.sum() + 5
    assert (full & ~short).sum() <= 1


@pytest.mark.parametrize("eps", [-0.03, float("nan"), float("inf")])
def test_a_radius_that_is_none_has_no_step(eps: float) -> None:
    with pytest.raises(InputError, match="eps must be finite and at least 0"):
        step_size(eps, 10)
