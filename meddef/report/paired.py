"""Models compared image by image, the seeds of an image kept together. No torch here.

Three trainings judged on the same 200 images are not 600 independent answers: images, not answers, are what is drawn
anew in the test, images and trainings in the interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy.special import gammaln

from meddef.records import Record
from meddef.statistics import holm

K = TypeVar("K")
DRAWS = 4000
METHOD = (
    "Below a difference stand its 95 % interval (bootstrap over images and, with several seeds, trainings) and the "
    "range over seeds. p: exact sign-flip test over images (with one seed McNemar's), corrected for the number of "
    "comparisons on a dataset. More under Definitions."
)


@dataclass(frozen=True)
class Effect:
    """A difference of accuracies on the same n images, in percentage points, averaged over ``by_seed``."""

    n: int
    by_seed: tuple[float, ...]
    low: float
    high: float
    p_value: float

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.by_seed))

    @property
    def is_clear(self) -> bool:
        """Whether p is below 0.05 and every seed gives a difference of the same sign."""
        return self.p_value < 0.05 and len({np.sign(value) for value in self.by_seed}) == 1

    def cell(self) -> str:
        """For tables, a line each: "+4.5", "[+1.2, +7.9]" and, with several seeds, "+3.0 to +6.0"."""
        seeds = f"\n{min(self.by_seed):+z.1f} to {max(self.by_seed):+z.1f}"
        several = seeds if len(self.by_seed) > 1 else ""
        return f"{self.value:+z.1f}\n[{self.low:+z.1f}, {self.high:+z.1f}]{several}"

    def words(self) -> str:
        """For sentences: "+4.5 points [+1.2, +7.9]"."""
        return f"{self.value:+z.1f} points [{self.low:+z.1f}, {self.high:+z.1f}]"


def right(record: Record) -> np.ndarray:
    """Which images are right after the attack, bool (n,)."""
    return np.array([a == b for a, b in zip(record["labels"], record["after"], strict=True)])


def same_images(records: Sequence[Record]) -> None:
    """Raises ValueError when the records do not hold the same images (their labels or fingerprints differ)."""
    if len({(record["labels"], record["data_fingerprint"]) for record in records}) > 1:
        raise ValueError("the records hold different images and cannot be paired")


def corrected(effects: Mapping[K, Effect]) -> dict[K, Effect]:
    """``effects`` with p-values corrected for how many they are (Holm)."""
    p_values = holm([found.p_value for found in effects.values()])
    return {key: replace(found, p_value=p) for (key, found), p in zip(effects.items(), p_values, strict=True)}


def effect(models: Sequence[tuple[int, Mapping[int, Record]]]) -> Effect | None:
    """The sum of the accuracies of ``models``, each (sign, seed -> record), counted with its sign.

    Two models give a difference, four a difference of differences. Only seeds that every model has are taken; None
    where there is none. Raises ValueError as ``same_images`` does.
    """
    seeds = sorted(set.intersection(*(set(records) for _, records in models)))
    if not seeds:
        return None
    same_images([records[seed] for _, records in models for seed in seeds])
    signs = np.array([sign for sign, _ in models])
    answers = np.array([[right(records[seed]) for seed in seeds] for _, records in models], dtype=np.int64)
    scores = np.tensordot(signs, answers, axes=1)  # (seeds, n)
    low, high = bootstrap(signs, answers)
    by_seed = tuple(100 * scores.mean(axis=1))
    return Effect(scores.shape[1], by_seed, low, high, sign_flip_p(scores.sum(axis=0).tolist()))


def sign_flip_p(scores: Iterable[int]) -> float:
    """Exact two-sided p of the sum of ``scores``, one an image, when each is as likely to have the other sign.

    This is Pitman's test (1937) for pairs; with scores of -1, 0 and 1 it is McNemar's exact test. The sum's
    distribution is the convolution of one binomial for each size that occurs.
    """
    scores = np.asarray(list(scores), dtype=np.int64)
    chances = np.ones(1)  # of the sum's possible values, from the lowest to the highest
    sizes, counts = np.unique(np.abs(scores[scores != 0]), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        k = np.arange(count + 1)
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = np.exp(
            gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1) - count * np.log(2)
        )
        chances = np.convolve(chances, steps)
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[np.abs(sums) >= abs(scores.sum())].sum()))


def bootstrap(signs: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """95 % interval of the signed sum of accuracies, in points: images and, for each model, trainings drawn anew.

    ``signs`` (models,), ``answers`` (models, seeds, n) of 0 and 1. Both are drawn with replacement (Owen 2007); the
    images are the same for all models in a draw, and two images more, one for each side, are among them (Bonett and
    Price 2012). With few seeds the share of the interval that is due to training is too small.
    """
    models, seeds, n = answers.shape
    weights = _image_draws(n)
    rates = 100 * (weights[:, :n] @ answers.reshape(-1, n).T).reshape(DRAWS, models, seeds) / (n + 2)
    drawn = np.random.default_rng(1).integers(seeds, size=(DRAWS, models, seeds))
    sums = np.take_along_axis(rates, drawn, axis=2).mean(axis=2) @ signs
    sums += 100 * (weights[:, n] - weights[:, n + 1]) / (n + 2)
    low, high = np.percentile(sums, [2.5, 97.5])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _image_draws(n: int) -> np.ndarray:
    """How often each of n + 2 images is in each draw, float (DRAWS, n + 2)."""
    return np.random.default_rng(0).multinomial(n + 2, np.full(n + 2, 1 / (n + 2)), size=DRAWS).astype(float)
