"""Trainings crossed with images: against arithmetic by hand, scipy, and draws of trainings that do not differ."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from meddef.report import crossed, paired
from meddef.statistics import MARGIN_ATTACKED

HAND = np.array([[100, 100, 0, 0], [100, 0, 0, 0], [100, 100, 100, 0]], dtype=float)


def test_error_of_one_group_by_hand() -> None:
    """Rows 50, 25, 75 and columns 100, 66.7, 33.3, 0, mean 50, all squared deviations 12 · 50².

    Mean squares: trainings 4 · 1250 / 2 = 2500, images 3 · 5555.6 / 3 = 5555.6, rest (30000 - 5000 - 16666.7) / 6.
    """
    trainings, images, rest = 2500 / 12, 5555.556 / 12, 1388.889 / 12
    found = crossed.error([HAND], made_up=False)
    assert found.se**2 == pytest.approx(trainings + images - rest, rel=1e-4)
    df = (trainings + images - rest) ** 2 / (trainings**2 / 2 + images**2 / 3 + rest**2 / 6)
    assert found.df == pytest.approx(df, rel=1e-4)


def test_two_made_up_images_and_one_training_more_by_hand() -> None:
    """Columns with 100 and -100: squared deviations from 33.3 sum to 28888.9, over 5 and over 6 images."""
    trainings, images, rest = 2500 / 12, 28888.9 / 5 / 6, 1388.889 / 12
    assert crossed.error([HAND]).se ** 2 == pytest.approx(trainings + images - rest, rel=1e-4)
    # s² = 625 between trainings: a third of it, and all of it once more; 7 is known
    more = crossed.error([HAND], once_more=True, beside=7.0)
    assert more.se**2 == pytest.approx(trainings + 625 + images - rest + 7, rel=1e-4)


def test_the_error_never_lies_below_either_source() -> None:
    """Trainings with alternating predictions: their means are equal, and the residual exceeds what images explain."""
    turns = 100.0 * np.array([[1, 0, 0] * 20, [0, 1, 0] * 20, [0, 0, 1] * 20])
    images = np.append(turns.mean(axis=0), [100, -100]).var(ddof=1) / 62
    assert crossed.error([turns]).se ** 2 == pytest.approx(images)


def test_fewer_trainings_leave_the_images_alone() -> None:
    scores = [np.array([[100.0, 100, 0, 0]]), np.array([[0.0, 0, -100, 0]])]
    found = crossed.error(scores)
    assert found.df == math.inf
    assert found.se**2 == pytest.approx(np.var([100, 100, -100, 0, 100, -100], ddof=1) / 6)


def test_t_and_equivalence_are_scipys() -> None:
    error = crossed.Error(2.0, 4.0)
    assert crossed.difference_p(3.0, error) == pytest.approx(2 * stats.t.sf(1.5, 4))
    low, high = stats.t.sf((3 + 5) / 2, 4), stats.t.cdf((3 - 5) / 2, 4)
    assert crossed.equivalence_p(3.0, error, 5.0) == pytest.approx(max(low, high))
    assert crossed.equivalence_p(-3.0, error, 5.0) == pytest.approx(max(low, high))
    assert crossed.quantile(0.9, 4.0) == pytest.approx(stats.t.ppf(0.95, 4))
    assert crossed.quantile(0.95, math.inf) == pytest.approx(stats.norm.ppf(0.975))
    ends = (
        -1 - stats.t.ppf(0.95, 4) * 2,
        1 + stats.t.ppf(0.95, 4) * 2,
    )  # where the 90 % interval touches ±(1 + ...)
    assert crossed.equivalence_p(1.0, error, ends[1]) == pytest.approx(0.05)


def draws_of_training(sizes: tuple[int, ...], seed: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [100.0 * (random.random((k, 50)) < random.random((k, 1))) for k in sizes]


def test_welch_and_permutation_are_scipys() -> None:
    first, second = draws_of_training((4, 4))
    groups = [first, -second]
    means = first.mean(axis=1), second.mean(axis=1)
    assert crossed.welch_p(groups) == pytest.approx(stats.ttest_ind(*means, equal_var=False).pvalue)
    assert crossed.welch_p([first]) == pytest.approx(stats.ttest_1samp(means[0], 0).pvalue)
    exact = stats.permutation_test(means, lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf)
    assert crossed.permutation_p(groups) == pytest.approx(exact.pvalue)
    signs = stats.permutation_test((means[0] - 40,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert crossed.permutation_p([first - 40]) == pytest.approx(signs.pvalue)


def test_what_cannot_be_had_is_nan() -> None:
    three, one = draws_of_training((3, 1))
    assert math.isnan(crossed.permutation_p([three, -three]))
    assert math.isnan(crossed.permutation_p(draws_of_training((4, 4, 4, 4))))
    assert math.isnan(crossed.welch_p([one, -one]))
    assert math.isnan(crossed.welch_p([np.full((3, 9), 100.0)]))


# Trainings drawn anew: an image is right with a chance that its difficulty, shared by all models, the training and
# the two together decide. A spread of 0.3 between trainings is about 4 points.
IMAGES, DIFFICULTY, TOGETHER, TRAININGS = 200, 2.0, 1.0, 0.3


def accuracy(level: float) -> float:
    """Expected accuracy of a way of training, in percent."""
    chances = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    return 100 * float(expit(level + math.hypot(DIFFICULTY, TOGETHER, TRAININGS) * chances).mean())


@cache
def draws(points: float, seed: int, seeds: int = 3) -> list[paired.Effect]:
    """200 experiments: two ways of training that differ by ``points``, ``seeds`` trainings of each."""
    random = np.random.default_rng(seed)
    higher = brentq(lambda level: accuracy(level) - accuracy(0) - points, 0, 5)
    found = []
    for _ in range(200):
        image = random.normal(0, DIFFICULTY, IMAGES)
        answers = []
        for level in (higher, 0.0):
            chance = level + image + random.normal(0, TRAININGS, (seeds, 1))
            chance = chance + random.normal(0, TOGETHER, (seeds, IMAGES))
            answers.append((random.random((seeds, IMAGES)) < expit(chance)).astype(np.int64))
        found.append(paired.compare([answers[0], -answers[1]], MARGIN_ATTACKED))
    return found


def test_the_draws_are_like_the_trainings_of_the_records() -> None:
    """Two trainings of one model lie some 4 points times the root of 2 apart."""
    apart = np.array([each.by_seed for each in draws(0.0, 1)])
    assert 4 < apart.std() / math.sqrt(2) < 6
    assert np.mean([each.value for each in draws(10.0, 2)]) == pytest.approx(10, abs=1)


@pytest.mark.parametrize("seeds", [3, 5])
def test_trainings_that_do_not_differ_are_clear_in_at_most_8_of_100_draws(seeds: int) -> None:
    assert np.mean([each.is_clear for each in draws(0.0, 1, seeds)]) <= 0.08


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = [each.low <= 10 <= each.high for each in draws(10.0, 2)]
    assert np.mean(held) >= 0.92


def test_a_difference_of_the_margin_is_seldom_called_equivalent() -> None:
    assert np.mean([each.is_equivalent for each in draws(MARGIN_ATTACKED, 4, 5)]) <= 0.08
    assert np.mean([each.is_equivalent for each in draws(MARGIN_ATTACKED, 4)]) <= 0.08


def test_chance_of_images_alone_would_break_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of old, planted: the same draws, trainings held fixed."""

    def images_alone(groups: crossed.Groups, **_: object) -> crossed.Error:
        together = sum(group.mean(axis=0) for group in groups)
        return crossed.Error(float(np.std(together)) / math.sqrt(IMAGES), math.inf)

    monkeypatch.setattr(crossed, "error", images_alone)
    draws.cache_clear()
    assert np.mean([each.is_clear for each in draws(0.0, 1)]) > 0.2
    draws.cache_clear()
