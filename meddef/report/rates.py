"""A rate over trainings: its interval, and whether it is the one that the paper prints.

Rates, printed values and intervals are in percent. ``metric`` is "clean" (clean accuracy), "robust" (robust accuracy)
or "asr" (of the images correct before the attack, the share that is wrong after it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact

from meddef.records import Record
from meddef.report import crossed
from meddef.report.paired import Effect, same_images
from meddef.statistics import CONFIDENCE, FEWEST_TRAININGS, Proportion, margin, wilson


@dataclass(frozen=True)
class MeanRate:
    """A rate averaged over trainings, in percent, with its interval at ``level``.

    ``n`` is the number of images: for ASR those correct before the attack, the mean over trainings.
    """

    by_seed: tuple[float, ...]
    n: float
    low: float
    high: float
    level: float

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.by_seed))

    @property
    def decides(self) -> bool:
        """Whether there are enough trainings for a statement about the model, not only about these weights."""
        return len(self.by_seed) >= FEWEST_TRAININGS

    def words(self) -> str:
        """For sentences: "93.5 % [90.1, 95.9]"; with fewer trainings "93.5 % [90.1, 95.9], one training"."""
        trainings = "" if self.decides else f", {('one training', 'two trainings')[len(self.by_seed) - 1]}"
        return f"{self.value:.1f} % [{self.low:z.1f}, {self.high:z.1f}]{trainings}"


def mean_interval(records: Mapping[int, Record], metric: str, level: float = CONFIDENCE) -> MeanRate | None:
    """The rate of one model over its trainings (seed -> record); None without a record or where ASR has no image.

    From ``FEWEST_TRAININGS`` on trainings and images are both random: a Wilson interval with t for z and, for n, the
    number of independent images with the same variance (Korn and Graubard 1998); several trainings never make it
    narrower than one would be. Below it is the Wilson interval of these weights. For one of m bounds ``level`` is
    1 - 0.05 / m (Bonferroni).

    Raises ValueError when the records hold different images.
    """
    found = _scores(records, metric)
    return None if found is None else rate_of(*found, level)


def rate_of(scores: np.ndarray, n: float, level: float = CONFIDENCE) -> MeanRate:
    """As ``mean_interval``, of scores (trainings, images) in points that are of ``n`` images."""
    by_seed = scores.mean(axis=1)
    value, worth, df = float(by_seed.mean()), n, math.inf
    if len(by_seed) >= FEWEST_TRAININGS and 0 < value < 100:
        of, of_one = crossed.error([scores], made_up=False), value * (100 - value) / n
        variance = max(of.se**2, of_one)
        worth, df = (
            n * of_one / variance,
            of.df * (variance / of.se**2) ** 2,
        )  # what is added to an estimate is known
    low, high = wilson(value / 100 * worth, worth, crossed.quantile(level, df))
    return MeanRate(tuple(by_seed.tolist()), n, 100 * low, 100 * high, level)


def against_printed(
    records: Mapping[int, Record], metric: str, printed: float, paper_n: int
) -> Effect | None:
    """The rate of one model over its trainings (seed -> record) minus the ``printed`` one, which is of one training
    and ``paper_n`` images of its own (for ASR those correct before the attack); None as in ``mean_interval``.

    From ``FEWEST_TRAININGS`` on the error holds what ``mean_interval`` holds, the paper's choice of images, p (1 - p) /
    n with one success and one failure more (Agresti and Caffo 2000), and the variance of one more training. Below, p
    is Fisher's exact test on images, rates over two trainings counted once, and no verdict follows.

    Raises ValueError when the records hold different images.
    """
    if (found := _scores(records, metric)) is None:
        return None
    scores, n = found
    by_seed = scores.mean(axis=1)
    shrunk = (printed / 100 * paper_n + 1) / (paper_n + 2)
    of = crossed.error([scores], once_more=True, beside=1e4 * shrunk * (1 - shrunk) / (paper_n + 2))
    value, within = float(by_seed.mean()) - printed, margin(metric)
    enough = len(by_seed) >= FEWEST_TRAININGS
    ours = Proportion(round((value + printed) / 100 * n), round(n))
    return Effect(
        n=round(n),
        by_seed=tuple((by_seed - printed).tolist()),
        se=of.se,
        df=of.df,
        p_value=crossed.difference_p(value, of) if enough else fisher_p(ours, printed, paper_n),
        p_equivalence=crossed.equivalence_p(value, of, within) if enough else math.nan,
        margin=within,
        groups=1,
    )


def fisher_p(ours: Proportion, printed: float, paper_n: int) -> float:
    """Two-sided p of Fisher's exact test of a measured rate against a printed one, in percent of ``paper_n`` images."""
    theirs = round(printed / 100 * paper_n)
    return float(fisher_exact([[ours.hits, ours.n - ours.hits], [theirs, paper_n - theirs]])[1])


def _scores(records: Mapping[int, Record], metric: str) -> tuple[np.ndarray, float] | None:
    """Scores (trainings, images) in points, whose means over images are the rates, and of how many images these are.

    For ASR, a ratio, they are linearised: the rate plus each image's share in its deviation.
    """
    if not records:
        return None
    rows = [records[seed] for seed in sorted(records)]
    same_images(rows)
    labels = np.array([list(row["labels"]) for row in rows])
    before, after = (labels == np.array([list(row[name]) for row in rows]) for name in ("before", "after"))
    if metric != "asr":
        return 100.0 * {"clean": before, "robust": after}[metric], float(labels.shape[1])
    flipped, counted = before & ~after, before.mean(axis=1, keepdims=True)
    if not counted.all():
        return None
    rates = flipped.mean(axis=1, keepdims=True) / counted
    return 100 * (rates + (flipped - rates * before) / counted), float(before.sum(axis=1).mean())
