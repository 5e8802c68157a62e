"""Diagnostic accuracy before and after an attack: sensitivity, specificity, balanced accuracy, F1, AUROC, calibration.

Every measure is a function of weights (B, n) over the images. A row of ones gives its value; rows that say how often
each image, or each patient with all of their images, was drawn again give its bootstrap (Efron 1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meddef.errors import InputError
from meddef.evaluation.metrics import Evaluation
from meddef.statistics import BINS, CONFIDENCE, BalancedAccuracy, Proportion, confidence_bin

RESAMPLES = 1000
AT_ONCE = 2_000_000
"""Weights that are held at once, so that a large set of images is resampled in parts."""
ALL = "all"
PROPORTIONS = ("sensitivity", "specificity")

Name = tuple[str, str]
"""A measure, and the class that it is of or ``ALL``."""


@dataclass(frozen=True)
class Estimate:
    """A measure in [0, 1] and its 95 % interval; NaN for what cannot be told from these images."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Diagnostic:
    """One measure of one class (or of ``ALL``), without attack and under it."""

    measure: str
    of: str
    before: Estimate
    after: Estimate


def diagnostic_accuracy(
    outcome: Evaluation,
    classes: Sequence[str],
    *,
    positive: int = 1,
    patients: Sequence[Hashable] | None = None,
) -> list[Diagnostic]:
    """What a clinician reads of an outcome of ``evaluate``.

    With two classes sensitivity, specificity, F1 and AUROC are those of the ``positive`` one, with more those of every
    class against the rest, and F1 and AUROC also as means over classes. The calibration error is that of the likeliest
    class's probability, in 15 bins. A class without images has no sensitivity and is left out of means.

    The interval of sensitivity and specificity is Wilson's, that of balanced accuracy follows from the classes' (see
    ``meddef.statistics``), the others are percentiles of 1,000 bootstrap resamples of the images, from a fixed seed; of
    the calibration error, which resampling raises, they are reflected at the value. Where some of the ``patients`` have
    several images all intervals are from resamples of patients, but for proportions of 0 or 1, of which every resample
    is the same: theirs is Wilson's for so many patients.

    Args:
        classes: the K names, in the order of the labels.
        positive: of two classes, the one to be found.
        patients: (n,), whose image each is; None: each is another's.

    Raises:
        InputError: the outcome holds no scores, or names and patients that are not one per class and one per image.
    """
    if outcome.scores_before is None or outcome.scores_after is None:
        raise InputError(
            "this outcome kept predictions alone: diagnostic accuracy needs scores, as evaluate gives them"
        )
    if len(classes) != outcome.num_classes or not 0 <= positive < len(classes):
        raise InputError(
            f"{len(classes)} class names and positive={positive} for a model with {outcome.num_classes} classes"
        )
    n = len(outcome.labels)
    if patients is not None and len(patients) != n:
        raise InputError(f"patients must be one per image: {len(patients)} for {n} images")
    seen: dict[Hashable, int] = {}
    units = np.array([seen.setdefault(one, len(seen)) for one in (patients or range(n))])
    found = [
        _estimates(outcome.labels, predictions, scores, list(classes), positive, units)
        for predictions, scores in (
            (outcome.before, outcome.scores_before),
            (outcome.after, outcome.scores_after),
        )
    ]
    return [Diagnostic(*name, found[0][name], found[1][name]) for name in found[0]]


def _estimates(
    labels: np.ndarray,
    predictions: np.ndarray,
    scores: np.ndarray,
    classes: list[str],
    positive: int,
    units: np.ndarray,
) -> dict[Name, Estimate]:
    """``units`` (n,): which of the things that are drawn an image belongs to, from 0."""
    measure = _measures(labels, predictions, scores, classes, positive)
    values = {name: float(value[0]) for name, value in measure(np.ones((1, len(labels)))).items()}
    parts = [measure(weights) for weights in _resamples(units)]
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in values}
    clustered = bool(units.max() + 1 < len(units))
    recalls = [_counted(labels == k, predictions == k, units) for k in range(len(classes))]
    passed = [_counted(labels != k, predictions != k, units) for k in range(len(classes))]

    def interval(name: Name) -> tuple[float, float]:
        kind, of = name
        value, again = values[name], drawn[name][~np.isnan(drawn[name])]
        certain = not len(again) or bool((again == again[0]).all())
        if kind in PROPORTIONS and (certain or not clustered):
            k = classes.index(of)
            return recalls[k].interval if kind == PROPORTIONS[0] else passed[k].interval
        if kind == "balanced accuracy" and (certain or not clustered):
            return BalancedAccuracy(tuple(recalls)).interval
        if certain:
            return math.nan, math.nan
        low, high = np.quantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        if kind == "calibration error":
            low, high = 2 * value - high, 2 * value - low
        return max(0.0, float(low)), min(1.0, float(high))

    return {name: Estimate(value, *interval(name)) for name, value in values.items()}


def _counted(asked: np.ndarray, hit: np.ndarray, units: np.ndarray) -> Proportion:
    """Hits of those ``asked`` for (n,), counted as if each unit had one image; exact where each has."""
    n = len(np.unique(units[asked]))
    share = hit[asked].mean() if n else 0.0
    return Proportion(round(float(share) * n), n)


def _resamples(units: np.ndarray) -> Iterator[np.ndarray]:
    """Weights (B, n) of ``RESAMPLES`` draws of as many units as there are, with replacement."""
    count = int(units.max()) + 1
    numbers = np.random.default_rng(0)
    block = max(1, AT_ONCE // len(units))
    for start in range(0, RESAMPLES, block):
        drawn = numbers.integers(count, size=(min(block, RESAMPLES - start), count))
        yield np.stack([np.bincount(row, minlength=count)[units] for row in drawn]).astype(np.float64)


def _measures(
    labels: np.ndarray, predictions: np.ndarray, scores: np.ndarray, classes: list[str], positive: int
) -> Callable[[np.ndarray], dict[Name, np.ndarray]]:
    """A function from weights (B, n) to every measure, (B,) each; NaN where there is none."""
    k = len(classes)
    cells = np.eye(k * k)[labels * k + predictions]
    odds = _odds(scores)
    confidence = scores.max(1).astype(np.float64)
    bins = np.eye(BINS)[[confidence_bin(one) for one in confidence]]
    gaps = bins * ((predictions == labels) - confidence)[:, None]
    ranks = {c: _ranking(labels == c, odds[:, c]) for c in ([positive] if k == 2 else range(k))}

    def measure(weights: np.ndarray) -> dict[Name, np.ndarray]:
        counts = (weights @ cells).reshape(-1, k, k)
        hits, true, answered = counts[:, range(k), range(k)], counts.sum(2), counts.sum(1)
        total = counts.sum((1, 2))[:, None]
        with np.errstate(invalid="ignore"):
            sensitivity = hits / true
            f1 = 2 * hits / (true + answered)
            rates = {
                "sensitivity": sensitivity,
                "specificity": (total - true - answered + hits) / (total - true),
                "F1": f1,
            }
        auroc = {c: rank(weights) for c, rank in ranks.items()}
        found = {(name, classes[c]): rate[:, c] for name, rate in rates.items() for c in ranks}
        found |= {("AUROC", classes[c]): area for c, area in auroc.items()}
        found["balanced accuracy", ALL] = _mean(sensitivity)
        if k > 2:
            found["F1", ALL], found["AUROC", ALL] = _mean(f1), _mean(np.stack(list(auroc.values()), 1))
        found["calibration error", ALL] = np.abs(weights @ gaps).sum(1) / weights.sum(1)
        return found

    return measure


def _odds(scores: np.ndarray) -> np.ndarray:
    """(n, K), in the order of the probabilities, and apart where these round to 1."""
    exact = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds: np.ndarray = np.nan_to_num(exact / (exact @ (1 - np.eye(scores.shape[1]))))
    return odds


def _ranking(found: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """From weights (B, n) to the area under the ROC curve of ``scores`` (n,) for the images in ``found``: how often one
    of them is ahead of one of the others, ties by half (Mann and Whitney 1947)."""
    order = np.argsort(scores, kind="stable")
    inside = found[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=-1) != 0)

    def area(weights: np.ndarray) -> np.ndarray:
        here = weights[:, order]
        mine, theirs = (np.add.reduceat(here * part, starts, axis=1) for part in (inside, ~inside))
        behind = theirs.cumsum(1) - theirs / 2
        with np.errstate(invalid="ignore"):
            share: np.ndarray = (mine * behind).sum(1) / (mine.sum(1) * theirs.sum(1))
        return share

    return area


def _mean(rates: np.ndarray) -> np.ndarray:
    """Over the classes (B, K) that have a rate; NaN where none has."""
    known = ~np.isnan(rates)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(known, rates, 0).sum(1) / known.sum(1)
    return mean


def as_rows(found: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """One plain row a measure, class and time (``when``: before or after the attack)."""
    return [
        {
            "measure": one.measure,
            "class": one.of,
            "when": when,
            "rate": said.value,
            "low": said.low,
            "high": said.high,
        }
        for one in found
        for when, said in (("before", one.before), ("after", one.after))
    ]
