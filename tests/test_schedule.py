"""The epsilon schedule at its phase borders, by hand from Section IV-B of the paper."""

import itertools

import pytest

from meddef.training import EpsilonSchedule


@pytest.mark.parametrize(
    ("epoch", "phase", "epsilon", "weight"),
    [
        (0, "warm-up", 0.01, 0.2),
        (4, "warm-up", 0.015, 0.2),
        (7, "warm-up", 0.01875, 0.2),
        (8, "aggressive", 0.02, 0.2),
        (22, "aggressive", 0.02 + 0.02 * (14 / 15) ** 2, 0.2 + 0.3 * 14 / 15),
        (23, "stabilization", 0.03, 0.5),
        (99, "stabilization", 0.03, 0.5),
    ],
)
def test_the_paper_s_hundred_epochs(epoch: int, phase: str, epsilon: float, weight: float) -> None:
    schedule = EpsilonSchedule()
    assert schedule.phase(epoch) == phase
    assert schedule.epsilon(epoch) == pytest.approx(epsilon, abs=1e-12)
    assert schedule.adversarial_weight(epoch) == pytest.approx(weight, abs=1e-12)


def test_growth_is_quadratic_in_the_aggressive_phase() -> None:
    values = [EpsilonSchedule().epsilon(epoch) for epoch in range(8, 23)]
    first = [b - a for a, b in itertools.pairwise(values)]
    second = [b - a for a, b in itertools.pairwise(first)]
    assert second == pytest.approx([2 * 0.02 / 15**2] * len(second))


def test_step_size_is_a_sixth_capped() -> None:
    schedule = EpsilonSchedule()
    assert schedule.step_size(0) == pytest.approx(0.01 / 6)
    assert schedule.step_size(8) == 0.003  # 0.02 / 6 is larger
    assert schedule.step_size(99) == 0.003


def test_a_shorter_run_keeps_the_shape() -> None:
    long, short = EpsilonSchedule(), EpsilonSchedule(epochs=25)
    assert [short.epsilon(e) for e in range(25)] == pytest.approx([long.epsilon(4 * e) for e in range(25)])


def test_easing_scales_epsilon_and_weight() -> None:
    eased = EpsilonSchedule(ease=0.8)
    assert eased.epsilon(50) == pytest.approx(0.024)
    assert eased.adversarial_weight(50) == pytest.approx(0.4)


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"ease": 0.0}, {"ease": 1.1}])
def test_bad_schedules_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"needs at least 1|must lie in"):
        EpsilonSchedule(**arguments)


@pytest.mark.parametrize("epoch", [-1, 100])
def test_an_epoch_outside_is_refused(epoch: int) -> None:
    with pytest.raises(ValueError, match="outside this run of 100"):
        EpsilonSchedule().epsilon(epoch)
