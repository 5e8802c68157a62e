"""The project's single definition of each rate, with its 95 % interval, used by figures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
FEWEST_TRAININGS = 3  # of each model, for a statement about an architecture or a training method
MARGIN_CLEAN, MARGIN_ATTACKED = (
    2.0,
    5.0,
)  # points of accuracy: equivalence margins; see ``margin``
BINS = 15  # of confidence, in a reliability diagram and the calibration error
FLOOR = 5.0  # percent: models with no more accuracy have nothing left to compare


@dataclass(frozen=True)
class Proportion:
    """``hits`` out of ``n`` with the Wilson score interval (Wilson 1927). NaN where n is 0."""

    hits: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n:
            raise ValueError(f"{self.hits} hits out of {self.n}: hits must lie in [0, n]")

    @property
    def value(self) -> float:
        """The proportion, in [0, 1]."""
        return self.hits / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % Wilson interval, in [0, 1]."""
        return self.wilson(CONFIDENCE)

    def wilson(self, level: float) -> tuple[float, float]:
        """Lower and upper end of the Wilson interval at ``level``, in [0, 1]."""
        return wilson(self.hits, self.n, NormalDist().inv_cdf((1 + level) / 2))


def wilson(hits: float, n: float, quantile: float) -> tuple[float, float]:
    """Ends of the Wilson interval of ``hits`` out of ``n``, in [0, 1]; ``quantile`` is 1.96 for 95 %.

    Neither need be whole: with an effective number of images and a t quantile this is the interval of a rate with
    non-binomial variance. NaN where n is 0.
    """
    if n == 0:
        return math.nan, math.nan
    middle = (hits + quantile**2 / 2) / (n + quantile**2)
    half = quantile / (n + quantile**2) * math.sqrt(hits * (n - hits) / n + quantile**2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def margin(attack: str) -> float:
    """Points of accuracy within which two models count as equivalent; "clean" for clean accuracy.

    Chosen after the first runs had been seen, before these tests were made: ``MARGIN_CLEAN`` for clean accuracy, where
    accuracies are close to 100 % and differ little between trainings, ``MARGIN_ATTACKED`` under attack.
    """
    return MARGIN_CLEAN if attack == "clean" else MARGIN_ATTACKED


@dataclass(frozen=True)
class AttackCounts:
    """Outcome counts of an attack on ``n`` images, from which every rate follows.

    ``flipped`` counts images that were correct before and wrong after; images that were wrong before and correct after
    ("repaired") make robust accuracy larger than (1 - ASR) * clean accuracy.
    """

    n: int
    correct_before: int
    correct_after: int
    flipped: int

    def __post_init__(self) -> None:
        repaired = self.correct_after - (self.correct_before - self.flipped)
        if not (
            0 <= self.flipped <= self.correct_before <= self.n
            and 0 <= repaired <= self.n - self.correct_before
        ):
            raise ValueError(f"inconsistent counts: {self}")

    @property
    def clean_accuracy(self) -> Proportion:
        """Correct before / all."""
        return Proportion(self.correct_before, self.n)

    @property
    def robust_accuracy(self) -> Proportion:
        """Correct after / all."""
        return Proportion(self.correct_after, self.n)

    @property
    def asr(self) -> Proportion:
        """Attack success rate, (correct before and wrong after) / correct before."""
        return Proportion(self.flipped, self.correct_before)


@dataclass(frozen=True)
class BalancedAccuracy:
    """The mean of the per-class recalls: each class has the same weight.

    ``recalls`` holds one proportion per class, in the order of the classes. A class without images is left out of the
    mean; ``absent`` gives its position. The constant classifier scores 1 / (classes with images).
    """

    recalls: tuple[Proportion, ...]

    @property
    def present(self) -> tuple[Proportion, ...]:
        """The recalls of classes that have images."""
        return tuple(recall for recall in self.recalls if recall.n)

    @property
    def absent(self) -> tuple[int, ...]:
        """Places of the classes without images."""
        return tuple(place for place, recall in enumerate(self.recalls) if not recall.n)

    @property
    def value(self) -> float:
        """In [0, 1]; NaN where no class has images."""
        return fmean(recall.value for recall in self.present) if self.present else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval in [0, 1], from the classes' Wilson intervals by square-and-add (Newcombe 1998; Zou and Donner
        2008)."""
        if not self.present:
            return math.nan, math.nan
        below, above = (
            math.hypot(*(recall.value - recall.interval[end] for recall in self.present)) / len(self.present)
            for end in (0, 1)
        )
        return max(0.0, self.value - below), min(1.0, self.value + above)


def mean_over_seeds(rates: Sequence[Proportion | BalancedAccuracy], name: str) -> dict[str, float]:
    """One rate of several trainings on the same images, in percent: ``name`` and ``_low``, ``_high``, ``_spread``.

    Value and ends of the interval are means, so the interval is as wide as that of one training: three models on the
    same images do not triple the number of images. The spread is the standard deviation over seeds, NaN with one.
    """
    values = [100 * rate.value for rate in rates]
    low, high = (100 * fmean(ends) for ends in zip(*(rate.interval for rate in rates), strict=True))
    spread = stdev(values) if len(values) > 1 else math.nan
    return {name: fmean(values), f"{name}_low": low, f"{name}_high": high, f"{name}_spread": spread}


@dataclass(frozen=True)
class ReliabilityBin:
    """Of the images whose confidence lies in (low, high]: how many, their mean confidence, the share that is right."""

    low: float
    high: float
    n: int
    confidence: float
    right: float


def reliability(
    confidences: Sequence[float], right: Sequence[float], bins: int = BINS
) -> list[ReliabilityBin]:
    """A reliability diagram as a table (Guo et al. 2017): those of ``bins`` equally wide bins that hold images.

    ``confidences``: in [0, 1], one per image; ``right``: 1 or 0.
    """
    sums = [[0.0] * 3 for _ in range(bins)]
    for confidence, hit in zip(confidences, right, strict=True):
        held = sums[confidence_bin(confidence, bins)]
        held[0], held[1], held[2] = held[0] + 1, held[1] + confidence, held[2] + hit
    return [
        ReliabilityBin(i / bins, (i + 1) / bins, int(n), sure / n, hits / n)
        for i, (n, sure, hits) in enumerate(sums)
        if n
    ]


def confidence_bin(confidence: float, bins: int = BINS) -> int:
    """Which of ``bins`` equally wide bins (a, b] holds a confidence in [0, 1]; 0 is in the first."""
    return max(0, math.ceil(confidence * bins) - 1)


def calibration_error(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> float:
    """Expected calibration error in [0, 1] (Guo et al. 2017): over the bins of ``reliability`` the mean of
    ``|accuracy - mean confidence|``, each weighted with its images. NaN without images.
    """
    held = reliability(confidences, right, bins)
    gaps = sum(one.n * abs(one.right - one.confidence) for one in held)
    return gaps / len(confidences) if confidences else math.nan


def psnr(l2: float, count: int) -> float:
    """Peak signal-to-noise ratio in dB of an image of ``count`` numbers in [0, 1] changed by ``l2``."""
    return 10 * math.log10(count / l2**2) if l2 else math.inf


def holm(p_values: Sequence[float]) -> list[float]:
    """``p_values`` corrected for their number (Holm 1979), in the same order: below 0.05 is significant for the
    family."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected
