"""A rate over trainings and against a printed one: by hand and by scipy."""

import math

import numpy as np
import pytest
from report_records import attack_record
from scipy import stats

from meddef.report.rates import against_printed, fisher_p, mean_interval
from meddef.statistics import MARGIN_ATTACKED, MARGIN_CLEAN, Proportion

LABELS = "0" * 100


def model(*right: int, before: tuple[int, ...] = (), n: int = 100) -> dict[int, dict]:
    """Seed -> record, the first ``right[seed]`` of n images correct after and ``before[seed]`` before the attack."""
    found = {}
    for seed, count in enumerate(right):
        first = before[seed] if before else count
        answers = ("0" * k + "1" * (n - k) for k in (first, count))
        found[seed] = attack_record("chest_xray", "full", "pgd", "0" * n, *answers, seed=seed)
    return found


def test_the_paper_prints_849_of_879_and_861_of_879_are_no_contradiction() -> None:
    """The review's example: p = 0.11, though 97.94 % lies above the measured interval."""
    assert fisher_p(Proportion(849, 879), 97.94, 879) == pytest.approx(0.11, abs=0.005)
    found = against_printed(model(849, n=879), "clean", 97.94, 879)
    assert found is not None
    assert found.p_value == pytest.approx(stats.fisher_exact([[849, 30], [861, 18]])[1])
    assert found.value == pytest.approx(100 * 849 / 879 - 97.94)
    assert not found.decides
    assert not found.is_clear
    assert math.isnan(found.p_equivalence)
    assert mean_interval(model(849, n=879), "clean").high < 97.94  # type: ignore[union-attr]


def test_one_training_that_is_far_from_the_printed_value_gives_no_verdict_either() -> None:
    found = against_printed(model(40), "robust", 90.0, 100)
    assert found is not None
    assert found.these_differ
    assert (found.is_clear, found.verdict) == (False, "these two accuracies differ")


def test_several_trainings_against_a_printed_value_by_hand() -> None:
    """70, 74 and 78 of 100: s² = 16, taken 1/3 + 1 times; images as answered by 0, 1, 2 or 3 trainings."""
    found = against_printed(model(70, 74, 78), "robust", 80.0, 50)
    assert found is not None
    images = np.array([100.0] * 70 + [200 / 3] * 4 + [100 / 3] * 4 + [0] * 22 + [100, -100]).var(ddof=1) / 102
    # rest: 8 images that trainings disagree about, sums of squares 8 · 6666.7 less 2 · 16 · 100 between trainings
    rest = (8 * 20000 / 3 - 3200) / (2 * 99) / 300
    paper = 1e4 * (41 / 52) * (11 / 52) / 52
    trainings = 16 * 4 / 3
    variance = trainings + images - rest + paper
    assert found.se**2 == pytest.approx(variance)
    df = variance**2 / (trainings**2 / 2 + images**2 / 101 + rest**2 / 198)
    assert found.df == pytest.approx(df)
    assert found.value == pytest.approx(-6.0)
    assert found.p_value == pytest.approx(2 * stats.t.sf(6 / math.sqrt(variance), df))
    assert found.decides
    assert (found.margin, found.n) == (MARGIN_ATTACKED, 100)
    assert against_printed(model(70, 74, 78), "clean", 80.0, 50).margin == MARGIN_CLEAN  # type: ignore[union-attr]


def test_the_papers_images_widen_the_comparison() -> None:
    few, many = (against_printed(model(70, 74, 78), "robust", 80.0, n) for n in (50, 5000))
    assert few is not None
    assert many is not None
    assert few.se > many.se
    assert few.p_value > many.p_value


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_one_training_has_wilsons_interval_and_says_so(level: float) -> None:
    found = mean_interval(model(70), "robust", level)
    assert found is not None
    ends = stats.binomtest(70, 100).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((100 * ends.low, 100 * ends.high))
    assert not found.decides
    assert found.words().endswith("], one training")


def test_trainings_that_differ_widen_the_interval_and_trainings_that_agree_do_not_narrow_it() -> None:
    alone, agreed, apart = (
        mean_interval(model(*right), "robust") for right in ((70,), (70,) * 3, (60, 70, 80))
    )
    assert alone is not None
    assert agreed is not None
    assert apart is not None
    assert agreed.decides
    assert agreed.high - agreed.low == pytest.approx(alone.high - alone.low, rel=0.02)
    assert apart.low < agreed.low - 5
    assert apart.high > agreed.high + 5
    assert apart.value == pytest.approx(70)


def test_asr_is_of_the_images_that_were_right() -> None:
    """30 of 80 and 44 of 80 fooled; of the images that were wrong before none counts."""
    found = mean_interval(model(50, 36, before=(80, 80)), "asr")
    assert found is not None
    assert found.by_seed == pytest.approx((37.5, 55.0))
    assert found.n == 80
    one = mean_interval(model(50, before=(80,)), "asr")
    ends = stats.binomtest(30, 80).proportion_ci(0.95, method="wilson")
    assert one is not None
    assert (one.low, one.high) == pytest.approx((100 * ends.low, 100 * ends.high))
    assert mean_interval(model(0, before=(0,)), "asr") is None
    assert mean_interval({}, "robust") is None


def test_asr_over_trainings_has_the_error_of_a_ratio() -> None:
    """Every training right on other images before: drawn anew many times, rates vary as the interval says."""
    random = np.random.default_rng(7)

    def drawn() -> dict[int, dict]:
        found = {}
        for seed in range(3):
            shift = random.normal(0, 0.05)
            before, after = random.random(100) < 0.8 + shift / 2, random.random(100) < 0.5 + shift
            texts = ["".join("01"[not r] for r in answers) for answers in (before, before & after)]
            found[seed] = attack_record("chest_xray", "full", "pgd", LABELS, *texts, seed=seed)
        return found

    intervals = [mean_interval(drawn(), "asr") for _ in range(150)]
    held = np.mean([each.low <= 50 <= each.high for each in intervals if each])
    assert held >= 0.92


def test_rates_at_the_end_stay_within() -> None:
    found = mean_interval(model(100, 100, 100), "robust")
    assert found is not None
    assert found.high == pytest.approx(100)
    assert 96 < found.low < 97
    almost = mean_interval(model(100, 100, 99), "robust")
    assert almost is not None
    assert 90 < almost.low < almost.value < almost.high <= 100
