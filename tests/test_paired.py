"""Models compared on the same images, and what may be said of them: by enumeration, scipy and hand."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import attack_record
from scipy.stats import binomtest, t

from meddef.report.paired import AT_FLOOR, CLEAR, OPEN, Effect, corrected, effect, in_order, sign_flip_p
from meddef.statistics import MARGIN_ATTACKED, MARGIN_CLEAN, Proportion, holm, mean_over_seeds


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
    having, without = model("full", *["0123"] * 2), model("no_afd", *["1123"] * 2)
    found = effect([(1, having), (-1, without)])
    assert found is not None
    assert (found.n, found.by_seed, found.p_value) == (4, (25.0, 25.0), 1.0)


def test_effects_by_hand() -> None:
    """Seed 0: 3 of 4 against 2 of 4; seed 1: 4 of 4 against 1 of 4."""
    found = effect([(1, model("full", "3123", "0123")), (-1, model("no_afd", "0100", "0000"))])
    assert found is not None
    assert found.by_seed == (25.0, 75.0)
    assert found.value == 50.0
    assert "+50.0\n[" in found.cell()
    assert found.cell().endswith("\n+25.0 to +75.0")
    # scores by image: 0 is lost to the one and won twice by the other, the rest by hand
    assert found.p_value == pytest.approx(sign_flip_p([-1, 1, 2, 2]))


def test_only_shared_seeds_are_paired_and_other_images_refused() -> None:
    having, without = model("full", "0123", "0123", "0123"), model("no_afd", "0000")
    found = effect([(1, having), (-1, without)])
    assert found is not None
    assert found.by_seed == (75.0,)
    assert effect([(1, having), (-1, {})]) is None
    with pytest.raises(ValueError, match="different images"):
        effect([(1, model("full", "0123")), (-1, model("no_afd", "0000", labels="3210"))])


def answers(*right: int, n: int = 200) -> list[str]:
    """The first ``right`` of n images right, for each seed."""
    return ["0" * count + "1" * (n - count) for count in right]


def pair(first: list[str], second: list[str], attack: str = "pgd") -> Effect:
    """The full model minus ResNet18, each with one record per seed."""
    labels = "0" * len(first[0])

    def trained(variant: str, texts: list[str]) -> dict[int, dict]:
        return {
            seed: attack_record("phantom_oct", variant, attack, labels, labels, text, seed=seed)
            for seed, text in enumerate(texts)
        }

    found = effect([(1, trained("full", first)), (-1, trained("resnet18", second))])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((150, 152, 154), (100, 102, 104), CLEAR),
        ((101, 102, 103), (100, 102, 104), "smaller than ±5 points"),
        ((100, 130, 160), (70, 102, 134), OPEN),  # seeds as far apart as the models
        ((0, 2, 1), (0, 0, 10), AT_FLOOR),
        ((150,), (100,), "these two trainings differ"),
        ((102,), (100,), "these two trainings: no difference shown"),
        ((150, 160), (100, 90), "these four trainings differ"),
    ],
)
def test_verdicts(first: tuple[int, ...], second: tuple[int, ...], verdict: str) -> None:
    found = pair(answers(*first), answers(*second))
    assert found.verdict == verdict
    assert found.is_clear == (CLEAR in verdict)
    assert found.is_equivalent == ("smaller" in verdict)
    assert found.these_differ == (verdict.endswith("trainings differ"))


def test_a_difference_can_be_there_and_small() -> None:
    """40 of 2000 images, without disagreement on any other."""
    found = pair(answers(*[1040] * 3, n=2000), answers(*[1000] * 3, n=2000))
    assert found.verdict == "clear, smaller than ±5 points"


def test_one_training_never_gives_a_verdict_however_large_the_difference() -> None:
    found = pair(answers(200), answers(0))
    assert found.p_value < 1e-9
    assert (found.is_clear, found.is_equivalent, found.decides) == (False, False, False)
    assert math.isnan(found.p_equivalence)


def test_a_difference_over_three_trainings_by_hand() -> None:
    """Means 75, 76, 77 and 50, 51, 52: s² = 1 each; image sums by how many trainings of each are correct."""
    found = pair(answers(150, 152, 154), answers(100, 102, 104))
    third = 100 / 3
    images = [0] * 100 + [third] * 2 + [2 * third] * 2 + [100] * 46 + [2 * third] * 2 + [third] * 2 + [0] * 46
    of_images = np.var([*images, 100, -100], ddof=1) / 202
    # four images of each model that its trainings disagree about: 4 · 6666.7 less 200 · 2 between trainings
    rest = (4 * 20000 / 3 - 400) / (2 * 199) / 600
    variance = 2 / 3 + of_images - 2 * rest
    assert found.value == pytest.approx(25.0)
    assert found.se**2 == pytest.approx(variance)
    df = variance**2 / (2 * (1 / 3) ** 2 / 2 + of_images**2 / 201 + 2 * rest**2 / 398)
    assert found.df == pytest.approx(df)
    assert found.p_value == pytest.approx(2 * t.sf(25 / math.sqrt(variance), df))
    assert (found.low, found.high) == pytest.approx(
        (25 - t.ppf(0.975, df) * found.se, 25 + t.ppf(0.975, df) * found.se)
    )


def test_equivalence_is_the_90_percent_interval_within_the_margin() -> None:
    found = pair(answers(101, 102, 103), answers(100, 102, 104))
    low, high = found.interval(0.9)
    assert found.is_equivalent
    assert -MARGIN_ATTACKED < low < high < MARGIN_ATTACKED
    assert not replace(found, p_equivalence=0.051).is_equivalent


def test_the_margin_is_that_of_the_attack() -> None:
    texts = answers(101, 102, 103), answers(100, 102, 104)
    assert pair(*texts, attack="clean").margin == MARGIN_CLEAN == 2.0
    assert pair(*texts).margin == MARGIN_ATTACKED == 5.0


def test_a_model_attacked_and_not_is_one_training() -> None:
    """Its two accuracies go up and down together: their difference, 10 points in every seed, has no spread."""
    labels = "0" * 200
    before, after = (
        {
            seed: attack_record("phantom_oct", "full", attack, labels, labels, text, seed=seed)
            for seed, text in enumerate(answers(*right))
        }
        for attack, right in (("clean", (80, 120, 160)), ("pgd", (60, 100, 140)))
    )
    within = effect([(1, before), (-1, after)])
    between = effect([(1, before), (-1, after)], way=lambda record: record["attack"])
    assert within is not None
    assert between is not None
    assert (within.groups, between.groups, within.margin) == (1, 2, MARGIN_ATTACKED)
    assert within.is_clear
    assert not between.is_clear
    assert within.se < between.se / 3


def test_a_difference_of_differences_counts_every_training() -> None:
    models = [
        (sign, model(variant, *["0" * 20] * 3, labels="0" * 20))
        for sign, variant in ((1, "full"), (-1, "resnet18"), (-1, "no_afd"), (1, "no_afd_mfe"))
    ]
    found = effect(models)
    assert found is not None
    assert (found.groups, found.trainings, found.value) == (4, 3, 0.0)


def test_holm_by_hand() -> None:
    """0.01 · 4, then 0.029 · 3, then 0.03 · 2, which may not lie below the one before, then 0.9."""
    assert holm([0.03, 0.01, 0.9, 0.029]) == pytest.approx([0.087, 0.04, 0.9, 0.087])
    found = effect([(1, model("full", "0123")), (-1, model("no_afd", "0000"))])
    assert found is not None
    assert corrected({"a": found, "b": found})["a"].p_value == pytest.approx(min(1.0, 2 * found.p_value))


def test_those_with_too_few_trainings_are_a_family_of_their_own() -> None:
    one, three = pair(answers(110), answers(100)), pair(answers(110, 120, 115), answers(100, 105, 99))
    both = corrected({"one": one, "three": three, "other": three})
    assert both["one"].p_value == one.p_value
    assert both["three"].p_value == pytest.approx(min(1.0, 2 * three.p_value))
    assert both["three"].p_equivalence == pytest.approx(min(1.0, 2 * three.p_equivalence))


def test_in_a_fixed_order_the_first_that_fails_ends_the_equivalences() -> None:
    some = pair(answers(101, 102, 103), answers(100, 102, 104))
    given = {name: replace(some, p_equivalence=p) for name, p in (("a", 0.04), ("b", 0.2), ("c", 0.001))}
    ordered = in_order(given)
    assert [each.p_equivalence for each in ordered.values()] == [0.04, 0.2, 0.2]
    assert [each.is_equivalent for each in ordered.values()] == [True, False, False]
    one = pair(answers(110), answers(100))
    assert math.isnan(in_order({"a": some, "b": one})["b"].p_equivalence)


def test_rates_over_seeds_by_hand() -> None:
    """1 of 4 and 3 of 4: mean 50, standard deviation 35.4; the interval is not that of 8 images."""
    rates = [Proportion(1, 4), Proportion(3, 4)]
    mean = mean_over_seeds(rates, "x")
    assert (mean["x"], round(mean["x_spread"], 1)) == (50.0, 35.4)
    assert mean["x_high"] == pytest.approx(100 - mean["x_low"])
    assert mean["x_low"] < 100 * Proportion(4, 8).interval[0]
