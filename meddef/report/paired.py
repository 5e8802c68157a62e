"""Models compared on the same images: a difference of accuracies, with trainings and images both random.

A difference between two trained models says nothing yet of their architectures: two trainings of one model differ
too. So a verdict takes ``FEWEST_TRAININGS`` trainings of each model and a test in which trainings are drawn anew.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.special import gammaln

from meddef.records import Record
from meddef.report import crossed
from meddef.report.display import p_text
from meddef.statistics import FEWEST_TRAININGS, FLOOR, holm, margin

K = TypeVar("K")
METHOD = (
    "Below a difference: its 95 % interval and the range over seeds. With three or more seeds, trainings and images "
    "are both random (t-test, corrected for the conditions of one question; uncorrected for comparison: Welch's test "
    "over seeds and, with four or more, the permutation of whole trainings), and the verdict is clear (significant), "
    "smaller than the margin (equivalence test), or open. With fewer, the text states whether these trainings differ "
    "(McNemar's exact test over images), without conclusion about architecture or training. See Definitions."
)
CLEAR, OPEN, AT_FLOOR = "clear", "open", "at the floor"
LINE = 16  # characters of a verdict beside each other in a table
_SPELLED = {2: "two", 4: "four", 8: "eight"}


@dataclass(frozen=True)
class Effect:
    """A difference of accuracies on the same n images, in percentage points, averaged over ``by_seed``.

    Attributes:
        se, df: standard error (points) and degrees of freedom: of trainings and images from ``FEWEST_TRAININGS`` on,
            below of the images alone (df infinite).
        p_value: against no difference, two-sided: Student's t, or below ``FEWEST_TRAININGS`` an exact test over images.
        p_equivalence: against a difference of at least ``margin`` points (TOST); NaN below ``FEWEST_TRAININGS``.
        p_welch, p_permutation: shown beside ``p_value``, which decides; NaN where they cannot be had
            (``crossed.welch_p``, ``crossed.permutation_p``).
        groups: how many training methods are compared; each has ``len(by_seed)`` trainings.
        highest: accuracy of the best of the models compared, in percent; see ``at_floor``.
    """

    n: int
    by_seed: tuple[float, ...]
    se: float
    df: float
    p_value: float
    p_equivalence: float
    margin: float
    p_welch: float = math.nan
    p_permutation: float = math.nan
    groups: int = 2
    highest: float = 100.0

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.by_seed))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval()[1]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper end at ``level``, in points."""
        half = crossed.quantile(level, self.df) * self.se
        return self.value - half, self.value + half

    @property
    def trainings(self) -> int:
        """Of each model."""
        return len(self.by_seed)

    @property
    def decides(self) -> bool:
        """Whether there are enough trainings for a statement about an architecture or a training method."""
        return self.trainings >= FEWEST_TRAININGS

    @property
    def at_floor(self) -> bool:
        """Whether no model has anything left to lose: such an effect is named and not judged."""
        return self.highest <= FLOOR

    @property
    def is_clear(self) -> bool:
        """Whether architecture or training makes a difference: p below 0.05 with enough trainings; else False."""
        return self.decides and not self.at_floor and self.p_value < 0.05

    @property
    def is_equivalent(self) -> bool:
        """Whether the difference is shown to be smaller than ``margin``; False with too few trainings."""
        return self.decides and not self.at_floor and self.p_equivalence < 0.05

    @property
    def these_differ(self) -> bool:
        """Whether the trainings at hand, too few for a verdict, differ: p below 0.05 over images."""
        return not self.decides and not self.at_floor and self.p_value < 0.05

    @property
    def these(self) -> str:
        """ "these two trainings", all that are compared; the accuracies of a single one are "these two accuracies"."""
        count = self.groups * self.trainings
        if count == 1:
            return "these two accuracies"
        return f"these {_SPELLED.get(count, count)} trainings"

    @property
    def verdict(self) -> str:
        """ "clear", "smaller than ±5 points", "clear, smaller than ±5 points" or "open"; with fewer trainings
        "these two trainings differ" or "these two trainings: no difference shown"; "at the floor"."""
        if self.at_floor:
            return AT_FLOOR
        if not self.decides:
            return f"{self.these} differ" if self.these_differ else f"{self.these}: no difference shown"
        small = f"smaller than ±{self.margin:g} points"
        found = [word for word, holds in ((CLEAR, self.is_clear), (small, self.is_equivalent)) if holds]
        return ", ".join(found) or OPEN

    def cell(self) -> str:
        """For tables, one per line: "+4.5", "[+1.2, +7.9]" and, with several seeds, "+3.0 to +6.0"."""
        seeds = f"\n{min(self.by_seed):+z.1f} to {max(self.by_seed):+z.1f}"
        several = seeds if len(self.by_seed) > 1 else ""
        return f"{self.value:+z.1f}\n[{self.low:+z.1f}, {self.high:+z.1f}]{several}"

    def evidence(self) -> str:
        """For tables, in short lines: "p 0.042", "Welch 0.051", "permuted 0.029" where they can be had, the verdict."""
        beside = (("Welch", self.p_welch), ("permuted", self.p_permutation))
        others = [f"{name} {p_text(p)}" for name, p in beside if not math.isnan(p)]
        return "\n".join([f"p {p_text(self.p_value)}", *others, *textwrap.wrap(self.verdict, LINE)])

    def words(self) -> str:
        """For sentences: "+4.5 points [+1.2, +7.9]"."""
        return f"{self.value:+z.1f} points [{self.low:+z.1f}, {self.high:+z.1f}]"


def tally(effects: Iterable[Effect]) -> str:
    """How many of ``effects`` have which verdict: "clear in 3, smaller than the margin in 2, open in 6 of 11"."""
    found = list(effects)
    kinds = {
        "clear": sum(each.is_clear for each in found),
        "smaller than the margin": sum(each.is_equivalent and not each.is_clear for each in found),
        "these trainings differ": sum(each.these_differ for each in found),
        "at the floor": sum(each.at_floor for each in found),
    }
    left = len(found) - sum(kinds.values())
    kinds |= {"open" if any(each.decides for each in found) else "no difference shown": left}
    told = ", ".join(f"{kind} in {count}" for kind, count in kinds.items() if count)
    return f"{told} of {len(found)} conditions"


def right(record: Record) -> np.ndarray:
    """Which images are correct after the attack, bool (n,)."""
    return np.array([a == b for a, b in zip(record["labels"], record["after"], strict=True)])


def same_images(records: Sequence[Record]) -> None:
    """Raises ValueError when the records do not hold the same images (their labels or fingerprints differ)."""
    if len({(record["labels"], record["data_fingerprint"]) for record in records}) > 1:
        raise ValueError("the records are of different images and cannot be paired")


def corrected(effects: Mapping[K, Effect]) -> dict[K, Effect]:
    """``effects`` with p-values corrected for how many they are (Holm), and equivalences for how many those are.

    Those with enough trainings for a verdict are a family; those without, which only say whether trainings differ, are
    another.
    """
    found = dict(effects)
    for decides in (True, False):
        family = {key: each for key, each in effects.items() if each.decides == decides}
        differ = holm([each.p_value for each in family.values()])
        same = holm([each.p_equivalence for each in family.values()]) if decides else [math.nan] * len(family)
        for (key, each), p, q in zip(family.items(), differ, same, strict=True):
            found[key] = replace(each, p_value=p, p_equivalence=q)
    return found


def in_order(effects: Mapping[K, Effect]) -> dict[K, Effect]:
    """``effects`` with equivalences corrected as a fixed sequence: each is tested only if all before it hold.

    For conditions whose order is fixed in advance, as that of ε is. Every test is made at 5 %, the first that fails
    ends the sequence, and the family's error stays at 5 % (Maurer et al. 1995), with more power than Holm's where few
    trainings are at hand. Those with too few trainings stay as they are.
    """
    found, most = dict(effects), 0.0
    for key, each in effects.items():
        if each.decides:
            most = max(most, each.p_equivalence)
            found[key] = replace(each, p_equivalence=most)
    return found


def trained_as(record: Record) -> Hashable:
    """The training method of an attack record: what its seeds share."""
    return record["dataset"], record["variant"], record["training"]


def effect(
    models: Sequence[tuple[int, Mapping[int, Record]]], way: Callable[[Record], Hashable] = trained_as
) -> Effect | None:
    """The sum of the accuracies of ``models``, each (sign, seed -> record), counted with its sign.

    Two models give a difference, four a difference of differences. Those that are trained the same ``way`` (a model
    pruned and unpruned, attacked and not) are the same trainings, and are added up within a seed. Only seeds that
    every model has are taken; None where there is none. The margin is that of clean accuracy if no record is of an
    attack. Raises ValueError as ``same_images`` does.
    """
    seeds = sorted(set.intersection(*(set(records) for _, records in models)))
    if not seeds:
        return None
    taken = [(sign, [records[seed] for seed in seeds]) for sign, records in models]
    same_images([record for _, records in taken for record in records])
    scores: dict[Hashable, np.ndarray] = {}
    highest = 0.0
    for sign, records in taken:
        answers = np.array([right(record) for record in records], dtype=np.int64)
        scores[way(records[0])] = scores.get(way(records[0]), 0) + sign * answers
        highest = max(highest, 100 * float(answers.mean()))
    attacks = {record["attack"] for _, records in taken for record in records}
    within = margin(max(attacks, key=margin))
    return replace(compare(list(scores.values()), within), highest=highest)


def compare(scores: Sequence[np.ndarray], margin: float) -> Effect:
    """The effect of ``scores``: int (trainings, images) per training method, signed correct predictions, with the same
    number of trainings each."""
    points, total = [100.0 * each for each in scores], np.sum(scores, axis=0)
    by_seed = tuple((100 * total.mean(axis=1)).tolist())
    value, found = float(np.mean(by_seed)), crossed.error(points)
    enough = len(by_seed) >= FEWEST_TRAININGS
    return Effect(
        n=total.shape[1],
        by_seed=by_seed,
        se=found.se,
        df=found.df,
        p_value=crossed.difference_p(value, found) if enough else sign_flip_p(total.sum(axis=0).tolist()),
        p_equivalence=crossed.equivalence_p(value, found, margin) if enough else math.nan,
        margin=margin,
        p_welch=crossed.welch_p(points),
        p_permutation=crossed.permutation_p(points),
        groups=len(scores),
    )


def sign_flip_p(scores: Iterable[int]) -> float:
    """Exact two-sided p of the sum of ``scores``, one per image, when each is as likely to have the other sign.

    This is Pitman's test (1937) for pairs; with scores of -1, 0 and 1 it is McNemar's exact test. The sum's
    distribution is the convolution of one binomial for each size that occurs. Trainings are held fixed.
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
