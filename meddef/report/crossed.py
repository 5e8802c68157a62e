"""Trainings crossed with images: the standard error of a sum of accuracies when both are random.

A *group* is one training method: scores (trainings, images), signed sums of correct predictions, such that the sum over
groups of their means is the quantity of interest. Every training of a group sees every image, hence "crossed". Scores
are in points: 100 for a correct prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from meddef.statistics import FEWEST_TRAININGS

Groups = Sequence[np.ndarray]
FEWEST_TO_PERMUTE = 4  # trainings of each group; with three no permutation of six trainings lies below 0.05
ROUNDING = 1e-9


class Error(NamedTuple):
    """A standard error in points and its degrees of freedom."""

    se: float
    df: float


def error(groups: Groups, *, once_more: bool = False, beside: float = 0.0, made_up: bool = True) -> Error:
    """The standard error of the sum of the groups' means, and its degrees of freedom after Satterthwaite (1946).

    With trainings and images both random, the variance is the variance between the k trainings of each group over k,
    plus the variance between the n images over n, minus the training-by-image interaction, which would count twice
    (Cornfield and Tukey 1956). Two pseudo-observations, one for each side, keep the error positive where two models
    never disagree (Bonett and Price 2012). With one or two trainings of a group the variance between trainings is
    unknown, so the error is of the images alone.

    Args:
        groups: float (k, n) each.
        once_more: add the variance of one more training, for a comparison with an external single training.
        beside: a known variance to add, in squared points.
        made_up: whether to add the two pseudo-observations.
    """
    n = groups[0].shape[1]
    of_images = sum(group.mean(axis=0) for group in groups)
    if made_up:
        of_images = np.append(of_images, [100.0, -100.0])
    images = float(np.var(of_images, ddof=1)) / len(of_images)
    if min(len(group) for group in groups) < FEWEST_TRAININGS:
        return Error(math.sqrt(images + beside), math.inf)
    between = [
        (float(group.mean(axis=1).var(ddof=1)) * (1 / len(group) + once_more), len(group) - 1)
        for group in groups
    ]
    twice = [(_disagreement(group) / group.size, (len(group) - 1) * max(n - 1, 1)) for group in groups]
    trainings = sum(variance for variance, _ in between)
    crossed = trainings + images - sum(variance for variance, _ in twice)
    total = max(crossed, trainings, images) + beside
    parts = [*between, *twice, (images, len(of_images) - 1)]
    return Error(math.sqrt(total), total**2 / sum(variance**2 / df for variance, df in parts))


def _disagreement(group: np.ndarray) -> float:
    """The residual mean square of a group, explained by neither training nor image."""
    k, n = group.shape
    left = group - group.mean(axis=1, keepdims=True) - group.mean(axis=0) + group.mean()
    return float((left**2).sum()) / ((k - 1) * (n - 1)) if k > 1 and n > 1 else 0.0


def quantile(level: float, df: float) -> float:
    """Half-width of an interval at ``level``, in standard errors."""
    return float(stdtrit(min(df, 1e9), (1 + level) / 2))


def difference_p(value: float, found: Error) -> float:
    """Two-sided p of ``value`` against zero, by Student's t."""
    return 2 * float(stdtr(min(found.df, 1e9), -abs(value) / found.se))


def equivalence_p(value: float, found: Error, margin: float) -> float:
    """p against "at least ``margin`` in size": the larger of the two one-sided tests (TOST, Schuirmann 1987).

    It lies below 0.05 exactly if the 90 % interval lies within the margin.
    """
    return float(stdtr(min(found.df, 1e9), (abs(value) - margin) / found.se))


def welch_p(groups: Groups) -> float:
    """Two-sided p by Welch's t over the trainings' accuracies alone, the images held fixed.

    One group gives the t-test of its mean, more than two Welch's for a contrast. NaN with one training of a group, or
    where no two trainings of a group differ.
    """
    if min(len(group) for group in groups) < 2:
        return math.nan
    means = [group.mean(axis=1) for group in groups]
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in means]
    total = sum(variance for variance, _ in parts)
    if total < ROUNDING:
        return math.nan
    df = total**2 / sum(variance**2 / df for variance, df in parts)
    return difference_p(float(sum(each.mean() for each in means)), Error(math.sqrt(total), df))


def permutation_p(groups: Groups) -> float:
    """Exact two-sided p over all exchanges of whole trainings between two groups, or sign changes of one.

    NaN with fewer than ``FEWEST_TO_PERMUTE`` trainings per group, and for more than two groups.
    """
    if len(groups) > 2 or min(len(group) for group in groups) < FEWEST_TO_PERMUTE:
        return math.nan
    means = [group.mean(axis=1) for group in groups]
    if len(means) == 1:
        sums = np.array(list(product((1, -1), repeat=len(means[0])))) @ means[0]
    else:  # the second group's scores are counted away; a training that changes sides changes its sign
        k, everyone = len(means[0]), np.append(means[0], -means[1])
        ways = np.array(list(combinations(range(len(everyone)), k)))
        chosen = everyone[ways].sum(axis=1)
        sums = chosen / k - (everyone.sum() - chosen) / (len(everyone) - k)
    return float((np.abs(sums) >= abs(sums[0]) - ROUNDING).mean())
