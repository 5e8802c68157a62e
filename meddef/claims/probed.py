"""Checks of kind "probe", judged by one profile's probes on one dataset.

A probe gives one number per image and training, so trainings and images are crossed as accuracies are
(``meddef.report.crossed``), and fewer than ``FEWEST_TRAININGS`` trainings decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from meddef.claims.cells import SHORT, Cell
from meddef.claims.measured import Measured, on_contrast, points
from meddef.claims.model import PAPER_SIZE, Probe
from meddef.claims.rules import FAILS, HOLDS, OPEN, UNDEFINED, Outcome, Verdict, counted
from meddef.image_size import px
from meddef.report import crossed
from meddef.report.paired import compare, corrected, same_images
from meddef.report.probes import MEASURES
from meddef.report.rates import rate_of
from meddef.statistics import CONFIDENCE, FEWEST_TRAININGS, MARGIN_ATTACKED


@dataclass(frozen=True)
class Mean:
    """A mean over images and trainings with its interval; ``trainings`` of the model, ``n`` images."""

    value: float
    low: float
    high: float
    trainings: int
    n: int

    def within(self, low: float | None, high: float | None) -> Verdict:
        """Whether the whole interval lies within bounds, or outside; None is no bound."""
        least, most = -math.inf if low is None else low, math.inf if high is None else high
        if self.trainings < FEWEST_TRAININGS:
            return OPEN
        if self.high < least or self.low > most:
            return FAILS
        return HOLDS if least <= self.low and self.high <= most else OPEN

    def words(self, digits: int = 2) -> str:
        """ "0.93 [0.81, 1.05], n = 100 (one training)" """
        few = "" if self.trainings >= FEWEST_TRAININGS else f" ({counted(self.trainings, 'training')})"
        ends = f"{self.value:z.{digits}f} [{self.low:z.{digits}f}, {self.high:z.{digits}f}]"
        return f"{ends}, n = {self.n}{few}"


def scores(
    source: Measured, model: str, probe: str, of: Callable[[dict[str, np.ndarray]], np.ndarray]
) -> np.ndarray | None:
    """``of`` a model's measures, (k, n): one row per training, one column per image; None where the probe was not run.

    ``model``: as in ``Ordering``; NaN where an image has no number.
    """
    cell = Cell(source.dataset.name, model, "clean", "clean", 0.0, 0.0)
    found = [
        record
        for record in source.report.of("probe", source.dataset.name)
        if (record["probe"], record.get("variant"), record.get("training"))
        == (probe, cell.variant, cell.training)
    ]
    if not found:
        return None
    same_images(found)
    rows = [{name: np.array(v, dtype=float) for name, v in r["measures"].items()} for r in found]
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.array([of(row) for row in rows])
    return np.where(np.isfinite(made), made, np.nan)


def mean(found: np.ndarray, level: float = CONFIDENCE) -> Mean | None:
    """Of scores (k, n), over the images that have a number in every training; None with fewer than two.

    Of yes and no, 1 and 0, it is a rate (``rate_of``); of their differences the error is that of accuracies.
    """
    known = found[:, ~np.isnan(found).any(axis=0)]
    if known.shape[1] < 2:
        return None
    if np.isin(known, (0, 1)).all():
        rate = rate_of(100 * known, known.shape[1], level)
        return Mean(rate.value / 100, rate.low / 100, rate.high / 100, *known.shape)
    half, value = 0.0, float(known.mean())
    if np.isin(known, (-1, 0, 1)).all():
        of = crossed.error([100 * known])
        half = crossed.quantile(level, of.df) * of.se / 100
    elif np.ptp(known) > 0:
        of = crossed.error([known], made_up=False)
        half = crossed.quantile(level, of.df) * of.se
    return Mean(value, value - half, value + half, len(known), known.shape[1])


def judge(source: Measured, check: Probe) -> list[Outcome]:
    """One outcome per measure that was run."""
    outcomes = _contrasts(source, check) if check.than else _levels(source, check)
    size = source.dataset.record["image_size"]
    if check.at_paper_size and size != PAPER_SIZE:
        return [replace(o, verdict=OPEN, words=f"{o.words}; at {px(size)}") for o in outcomes]
    return outcomes


def _levels(source: Measured, check: Probe) -> list[Outcome]:
    outcomes = []
    for measure in check.measures:
        found = scores(source, check.model, check.probe, _quantity(check, measure))
        estimate = None if found is None else mean(found, 1 - (1 - CONFIDENCE) / len(check.measures))
        if estimate is None:
            continue
        if check.over:
            value, low, high = map(math.exp, (estimate.value, estimate.low, estimate.high))
            estimate = replace(estimate, value=value, low=low, high=high)
        verdict = estimate.within(check.low, check.high)
        outcomes.append(Outcome(verdict, f"{_words(check, measure)} {estimate.words()}{_tested(check)}"))
    return outcomes


def _quantity(check: Probe, measure: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    def quantity(row: dict[str, np.ndarray]) -> np.ndarray:
        if measure not in row:
            return np.full(len(next(iter(row.values()))), np.nan)
        if check.over:
            return np.log(row[measure] / row[check.over])
        return row[measure] - (row[check.minus] if check.minus else 0.0)

    return quantity


def _contrasts(source: Measured, check: Probe) -> list[Outcome]:
    """Accuracy of ``model`` minus that of ``than`` on the same images, in points."""
    effects = {}
    for measure in check.measures:
        both = [
            scores(source, m, check.probe, _quantity(check, measure)) for m in (check.model, check.than or "")
        ]
        if any(each is None for each in both):
            continue
        k = min(len(each) for each in both if each is not None)
        answers = [each[:k] for each in both if each is not None]
        signed = [sign * each.astype(np.int64) for sign, each in zip((1, -1), answers, strict=True)]
        highest = 100 * max(float(each.mean()) for each in answers)
        effects[measure] = replace(compare(signed, MARGIN_ATTACKED), highest=highest)
    outcomes = []
    for measure, found in corrected(effects).items():
        verdict = UNDEFINED if found.at_floor else on_contrast("higher", found, len(effects))
        few = "" if found.decides else f" ({found.verdict})"
        words = (
            f"{_words(check, measure)} against {SHORT[check.than or '']}: {points(found)}, n = {found.n}{few}"
        )
        outcomes.append(Outcome(verdict, words, found.value))
    return outcomes


def _words(check: Probe, measure: str) -> str:
    names = [MEASURES.get(name, name) for name in (measure, check.over or check.minus or "")]
    other = f" over {names[1]}" if check.over else f" minus {names[1]}" if check.minus else ""
    return f"{names[0]}{other}, {SHORT[check.model]}"


def _tested(check: Probe) -> str:
    ends = [
        f"{word} {end:g}"
        for word, end in (("at least", check.low), ("at most", check.high))
        if end is not None
    ]
    return f", tested against: {' and '.join(ends)}"
