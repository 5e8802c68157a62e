"""Models compared image by image, seeds kept together: against enumeration, scipy and arithmetic by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import attack_record
from scipy.stats import binomtest

from meddef.report.paired import bootstrap, corrected, effect, sign_flip_p
from meddef.statistics import Proportion, holm, mean_over_seeds

PAIR = np.array([1, -1])


def model(variant: str, *after: str, labels: str = "0123") -> dict[int, dict]:
    """Seed -> record of a model that gives ``after[seed]``."""
    return {
        seed: attack_record("phantom_oct", variant, "pgd", labels, labels, text, seed=seed)
        for seed, text in enumerate(after)
    }


def test_with_one_seed_it_is_mcnemars_exact_test() -> None:
    """Two-sided by hand: 2 (C(12,0) + C(12,1) + C(12,2)) / 2^12; and scipy for more."""
    assert sign_flip_p([1] * 10 + [-1] * 2 + [0] * 88) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert sign_flip_p([1] * 900 + [-1] * 1000) == pytest.approx(binomtest(900, 1900).pvalue)
    assert sign_flip_p([0] * 5) == sign_flip_p([]) == 1.0


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_sign_flips_are_those_of_enumeration(scores: list[int]) -> None:
    sums = [abs(np.dot(signs, scores)) for signs in product((-1, 1), repeat=len(scores))]
    expected = np.mean([total >= abs(sum(scores)) for total in sums])
    assert sign_flip_p(scores) == pytest.approx(expected)


def test_seeds_of_an_image_are_not_images() -> None:
    """Three trainings that agree on eight images are eight comparisons, not twenty-four."""
    assert sign_flip_p([3] * 8) == pytest.approx(2 / 2**8)
    having, without = model("full", *["0123"] * 3), model("no_afd", *["1123"] * 3)
    found = effect([(1, having), (-1, without)])
    assert found is not None
    assert (found.n, found.by_seed, found.p_value) == (4, (25.0, 25.0, 25.0), 1.0)


def test_effects_by_hand() -> None:
    """Seed 0: 3 of 4 against 2 of 4; seed 1: 4 of 4 against 1 of 4."""
    found = effect([(1, model("full", "3123", "0123")), (-1, model("no_afd", "0100", "0000"))])
    assert found is not None
    assert found.by_seed == (25.0, 75.0)
    assert found.value == 50.0
    assert "+50.0\n[" in found.cell()
    assert found.cell().endswith("\n+25.0 to +75.0")
    # scores by image: 0 is lost to the one and won twice by the other, the rest by eye
    assert found.p_value == pytest.approx(sign_flip_p([-1, 1, 2, 2]))


def test_only_shared_seeds_are_paired_and_other_images_refused() -> None:
    having, without = model("full", "0123", "0123", "0123"), model("no_afd", "0000")
    found = effect([(1, having), (-1, without)])
    assert found is not None
    assert found.by_seed == (75.0,)
    assert effect([(1, having), (-1, {})]) is None
    with pytest.raises(ValueError, match="different images"):
        effect([(1, model("full", "0123")), (-1, model("no_afd", "0000", labels="3210"))])


def test_a_difference_is_clear_only_if_every_seed_agrees() -> None:
    labels = "0" * 30
    clear = effect(
        [
            (1, model("full", labels, labels, labels=labels)),
            (-1, model("x", "1" * 30, "1" * 30, labels=labels)),
        ]
    )
    mixed = effect(
        [
            (1, model("full", labels, "1" * 30, labels=labels)),
            (-1, model("x", "1" * 30, "0" + "1" * 29, labels=labels)),
        ]
    )
    assert clear is not None
    assert mixed is not None
    assert clear.is_clear
    assert mixed.p_value < 0.001
    assert not mixed.is_clear


def test_bootstrap_has_the_width_of_theory_and_never_closes() -> None:
    random = np.random.default_rng(5)
    answers = (random.random((2, 1, 400)) < [[[0.7]], [[0.4]]]).astype(np.int64)
    scores = answers[0, 0] - answers[1, 0]
    low, high = bootstrap(PAIR, answers)
    assert high - low == pytest.approx(2 * 1.96 * 100 * scores.std() / np.sqrt(400), rel=0.06)
    assert low < 100 * scores.mean() < high
    low, high = bootstrap(PAIR, np.ones((2, 3, 200), dtype=np.int64))
    assert low < 0 < high  # two models that never disagree on 200 images


def test_trainings_that_differ_widen_the_interval() -> None:
    same = np.zeros((2, 3, 200), dtype=np.int64)
    same[0, :, :100] = 1
    differing = np.zeros((2, 3, 200), dtype=np.int64)
    for seed, count in enumerate((40, 100, 160)):
        differing[0, seed, :count] = 1
    (low, high), (lower, higher) = bootstrap(PAIR, same), bootstrap(PAIR, differing)
    assert higher - lower > 1.5 * (high - low)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Two models of the same accuracy on 60 images: about 95 of 100 intervals hold zero."""
    random = np.random.default_rng(11)
    draws = (random.random((100, 2, 1, 60)) < 0.6).astype(np.int64)
    held = sum(low <= 0 <= high for low, high in (bootstrap(PAIR, answers) for answers in draws))
    assert 90 <= held <= 100


def test_holm_by_hand() -> None:
    """0.01 · 4, then 0.029 · 3, then 0.03 · 2, which may not lie below the one before, then 0.9."""
    assert holm([0.03, 0.01, 0.9, 0.029]) == pytest.approx([0.087, 0.04, 0.9, 0.087])
    found = effect([(1, model("full", "0123")), (-1, model("no_afd", "0000"))])
    assert found is not None
    assert corrected({"a": found, "b": found})["a"].p_value == pytest.approx(min(1.0, 2 * found.p_value))


def test_rates_over_seeds_by_hand() -> None:
    """1 of 4 and 3 of 4: mean 50, standard deviation 35.4; the interval is not that of 8 images."""
    rates = [Proportion(1, 4), Proportion(3, 4)]
    mean = mean_over_seeds(rates, "x")
    assert (mean["x"], round(mean["x_spread"], 1)) == (50.0, 35.4)
    assert mean["x_high"] == pytest.approx(100 - mean["x_low"])
    assert mean["x_low"] < 100 * Proportion(4, 8).interval[0]
