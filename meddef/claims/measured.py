"""Comparisons judged by one profile's measurements on one dataset.

Two models are compared on the same images after the same attack; a level is measured under the strongest attack that
was run on that model at that ε over all grids. With fewer than three trainings nothing is decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

from meddef.claims.cells import NEAR, Cell, Comparison, Contrast, Level, dataset_words
from meddef.claims.index import STANDARDISED, Index, Seeds, collapsed, mean_after, of_class
from meddef.claims.model import EPS, PAPER_SIZE
from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN, UNDEFINED, Outcome, counted
from meddef.image_size import px
from meddef.paper import PROTOCOL
from meddef.printed.published import Published
from meddef.report import crossed
from meddef.report.paired import Effect, corrected, effect
from meddef.report.rates import MeanRate, against_printed, mean_interval
from meddef.report.report import Dataset, Report
from meddef.statistics import CONFIDENCE, FLOOR

ERROR = 1 - CONFIDENCE
TINY = 1e-9
_JSMA = re.compile(r"JSMA ε [\d.]+")  # it has no ε


class Measured:
    """One profile's records of one dataset, at ε as printed or in another unit, as a source of verdicts."""

    def __init__(self, report: Report, dataset: Dataset, reading: str = "") -> None:
        self.report, self.dataset, self.reading = report, dataset, reading
        self.index = Index(report.of("attack", dataset.name), self._scale)
        self._known: dict[tuple[tuple[int, Cell], ...], float | None] = {}

    @cached_property
    def _scale(self) -> float:
        """Factor that converts a printed ε to pixel units."""
        if self.reading != STANDARDISED:
            return 1.0
        return float(PROTOCOL["datasets"][self.dataset.twin]["std"])

    @property
    def images(self) -> str:
        """For headings: "Chest X-Ray, 64 px, split by patient", with another unit of ε."""
        words = self.report.title_of(self.dataset)
        if not self.reading:
            return words
        run = self.index.budget(EPS)
        nearest = "not run" if run is None else f"run at {run:g}"
        return f"{words}, ε in {self.reading} units ({EPS:g} is {EPS * self._scale:.3f} in pixels, {nearest})"

    @property
    def run(self) -> str:
        """Distinguishes it from other profiles: "64 px, 3 seeds, split by patient"."""
        record, name = self.dataset.record, self.dataset.name
        seeds = {kind: {r["seed"] for r in self.report.of(kind, name)} for kind in ("train", "attack")}
        count = len(seeds["train"] or seeds["attack"])
        words = [px(record["image_size"])] + ([counted(count, "seed")] if count else [])
        return ", ".join(words + ["split by patient"] * (record["split_policy"] == "patient"))

    def judge(self, comparisons: Sequence[Comparison], terms: int = 0) -> list[Outcome | None]:
        """One outcome for each comparison; None where a cell was not run.

        ``terms``: how many conditions the claim names, for which bounds are corrected, run or not.
        """
        contrasts = {i: c for i, c in enumerate(comparisons) if isinstance(c, Contrast)}
        values = {i: c for i, c in enumerate(comparisons) if isinstance(c, Level) and c.value is not None}
        bounds = {i: c for i, c in enumerate(comparisons) if isinstance(c, Level) and c.value is None}
        found = self._contrasts(contrasts) | self._values(values) | self._bounds(bounds, terms)
        return [found.get(i) for i in range(len(comparisons))]

    def _contrasts(self, contrasts: Mapping[int, Contrast]) -> dict[int, Outcome]:
        effects: dict[int, Effect] = {}
        outcomes: dict[int, Outcome] = {}
        for i, contrast in contrasts.items():
            cells = [cell for _, cell in contrast.terms]
            seeds = self.index.paired(cells)
            if seeds is None:
                continue
            if why := _nothing_to_compare(contrast, seeds):
                outcomes[i] = Outcome(UNDEFINED, f"{self._where(contrast)}: {why}")
                continue
            signs = [sign for sign, _ in contrast.terms]
            if (found := effect(list(zip(signs, seeds, strict=True)))) is not None:
                effects[i] = _mean(found, contrast.count)
        sequence = {i: p for i in effects if (p := self.equivalence(contrasts[i])) is not None}
        family = corrected({i: found for i, found in effects.items() if i not in sequence})
        same = {i: each.p_equivalence for i, each in family.items()} | sequence
        for i, found in corrected(effects).items():
            found = replace(found, p_equivalence=same[i])
            told = points(found, 50 * len(contrasts[i].terms) / contrasts[i].count)
            words = f"{self._where(contrasts[i])}: {told}, n = {found.n}{_short(found)}"
            words += contrasts[i].tested(found.margin)
            verdict = on_contrast(contrasts[i].says, found, len(effects))
            outcomes[i] = Outcome(verdict, words, found.value)
        return outcomes

    def equivalence(self, contrast: Contrast) -> float | None:
        """p of equivalence at an ε: the largest of those on clean images and at every ε up to this one that was run.

        As on the page of controls (``in_order``), whatever of these the claim is about. None where cells differ in
        attack or ε, or where there is none: those are a family.
        """
        cells = [cell for _, cell in contrast.terms]
        attack, eps = cells[0].attack, 0.0 if cells[0].attack == "jsma" else cells[0].eps
        here = self.index.budget(eps)
        if any((cell.attack, cell.eps) != (attack, cells[0].eps) for cell in cells) or not (
            eps or attack == "clean"
        ):
            return None
        places = [("clean", 0.0)] + [
            (attack, run) for run in self.index.budgets if here and run <= here + TINY
        ]
        found = [self._equivalence_at(contrast, name, run / self._scale) for name, run in places]
        return max((p for p in found if p is not None), default=None)

    def _equivalence_at(self, contrast: Contrast, attack: str, eps: float) -> float | None:
        """p of equivalence of the same models under another condition; None where it was not run or decides nothing."""
        terms = tuple(
            (sign, replace(cell, attack=attack, eps=eps, metric=cell.metric if eps else "clean"))
            for sign, cell in contrast.terms
        )
        if terms not in self._known:
            seeds = self.index.paired([cell for _, cell in terms])
            signs = [sign for sign, _ in terms]
            found = effect(list(zip(signs, seeds, strict=True))) if seeds else None
            found = _mean(found, contrast.count) if found else None
            self._known[terms] = found.p_equivalence if found and found.decides else None
        return self._known[terms]

    def _values(self, levels: Mapping[int, Level]) -> dict[int, Outcome]:
        effects: dict[int, Effect] = {}
        for i, level in levels.items():
            seeds = self.at(level.cell)
            if seeds and level.minus is None and not collapsed(seeds.values()):
                printed = float(level.value or "nan")
                found = against_printed(seeds, level.cell.metric, printed, self._paper_n(level.cell))
                effects |= {i: found} if found else {}
        outcomes = {}
        for i, found in corrected(effects).items():
            printed = float(levels[i].value or "nan")
            verdict = OPEN
            size = self.dataset.record["image_size"]
            if found.decides and size == PAPER_SIZE:
                verdict = HOLDS if found.is_equivalent else FAILS if found.is_clear else OPEN
            words = (
                f"{self._where(levels[i])} {found.value + printed:.1f} %, {points(found)} from {printed:g} %"
            )
            at = "" if size == PAPER_SIZE else f"; at {px(size)}"
            outcomes[i] = Outcome(verdict, f"{words}, n = {found.n}{_short(found)}{at}")
        return outcomes

    def _bounds(self, levels: Mapping[int, Level], terms: int) -> dict[int, Outcome]:
        outcomes, rates = {}, {}
        known = {i: seeds for i, level in levels.items() if (seeds := self.at(level.cell))}
        for i, seeds in known.items():
            if levels[i].cell.metric != "clean" and collapsed(seeds.values()):
                outcomes[i] = Outcome(UNDEFINED, f"{self._where(levels[i])}: a constant classifier")
        judged = [i for i in known if i not in outcomes]
        for i in judged:
            rates[i] = mean_interval(known[i], levels[i].cell.metric, 1 - ERROR / max(terms, len(levels)))
        for i, rate in rates.items():
            if rate is not None:
                constant = _constant(known[i])
                words = f"{self._where(levels[i])} {rate.words()}{levels[i].tested(constant)}"
                outcomes[i] = Outcome(_on_bound(rate, *_ends(levels[i], constant)), words)
        return outcomes

    def _where(self, comparison: Comparison) -> str:
        """The words of a comparison without the dataset, which is that of all; contrasts are of accuracy."""
        words = _JSMA.sub(
            "JSMA", comparison.words.removeprefix(dataset_words(self.dataset.name)).lstrip(": ")
        )
        if isinstance(comparison, Level):
            return words
        return words.replace(" ASR at ", " at ") + (f", {comparison.change}" if comparison.change else "")

    def at(self, cell: Cell) -> Seeds:
        """Seed -> the strongest record of a cell; of one class of images where it is about one."""
        seeds = self.index.strongest(cell)
        if cell.label is None:
            return seeds
        if cell.label not in self.dataset.classes:
            return {}
        digit = str(self.dataset.classes.index(cell.label))
        shown = {seed: of_class(record, digit) for seed, record in seeds.items()}
        return shown if all(record["n"] for record in shown.values()) else {}

    def _paper_n(self, cell: Cell) -> int:
        """Images behind a printed number: the stated test set, those of a class, or those correct before."""
        card: dict[str, Any] = PROTOCOL["datasets"][cell.dataset]
        if cell.label:
            return int(card["class_counts"]["test"][cell.label])
        clean = _printed_clean(cell.dataset, cell.variant) if cell.metric == "asr" else 1.0
        return round(card["splits"]["test"] * clean)


@cache
def _printed_clean(dataset: str, variant: str) -> float:
    """Clean accuracy in Tables 1 and 2, as a share."""
    return float(Published().clean(dataset, variant)) / 100


def _constant(seeds: Seeds) -> float:
    """Accuracy of the constant classifier, in percent."""
    labels = next(iter(seeds.values()))["labels"]
    return float(100 * max(labels.count(label) for label in set(labels)) / len(labels))


def _ends(level: Level, constant: float) -> tuple[float, float]:
    """Between which a level is said to lie, in percent."""
    if level.near is not None:
        return level.near - NEAR, level.near + NEAR
    low, high = (constant if end == "constant" else end for end in (level.low, level.high))
    return float("-inf") if low is None else float(low), float("inf") if high is None else float(high)


def points(found: Effect, most: float = 100.0) -> str:
    """ "+4.5 points [+1.2, +7.9]", the interval cut at ``most`` points, beyond which no difference lies."""
    return f"{found.value:+z.1f} points [{max(found.low, -most):+z.1f}, {min(found.high, most):+z.1f}]"


def _mean(found: Effect, count: int) -> Effect:
    """The effect divided by the number of conditions that it was summed over; a share of margins stays a margin."""
    if count == 1:
        return found
    by_seed = tuple(value / count for value in found.by_seed)
    of = crossed.Error(found.se / count, found.df)
    shared = replace(found, by_seed=by_seed, se=of.se)
    again = crossed.equivalence_p(shared.value, of, found.margin) if found.decides else found.p_equivalence
    return replace(shared, p_equivalence=again)


def on_contrast(says: str, found: Effect, family: int) -> Any:
    """The verdict of a difference that is said to be positive. ``family``: how many comparisons are judged together."""
    if not found.decides:
        return OPEN
    if says == "stable":  # as a bound is: not so where the interval lies beyond the margin
        low, high = found.interval(1 - ERROR / family)
        beyond = low > found.margin or high < -found.margin
        return HOLDS if found.is_equivalent else FAILS if beyond else OPEN
    if says == "no_lower" and found.interval(1 - 2 * ERROR)[0] > -found.margin:
        return HOLDS
    if found.is_clear and found.value < 0:
        return FAILS
    if says == "no_lower":
        return OPEN
    if found.is_clear:
        return HOLDS
    return ABSENT if found.is_equivalent else OPEN


def _on_bound(rate: MeanRate, low: float, high: float) -> Any:
    if not rate.decides:
        return OPEN
    if rate.high < low or rate.low > high:
        return FAILS
    return HOLDS if low <= rate.low and rate.high <= high else OPEN


def _nothing_to_compare(contrast: Contrast, seeds: Sequence[Seeds]) -> str:
    """Why a contrast is left out, in words; empty where it can be judged."""
    cells = [cell for _, cell in contrast.terms]
    if any(c.attack != "clean" and collapsed(s.values()) for c, s in zip(cells, seeds, strict=True)):
        return "a constant classifier before the attack"
    left = [mean_after(each) for each in seeds]
    starts = [
        value
        for cell, value in zip(cells, left, strict=True)
        if contrast.start and (cell.attack, cell.eps, cell.rate)
        == (contrast.start.attack, contrast.start.eps, contrast.start.rate)
    ]  # fmt: skip
    if starts and min(starts) <= FLOOR:
        return f"starts at {min(starts):.1f} %"
    if not contrast.start and max(left) <= FLOOR:
        return f"at most {max(left):.1f} % for either"
    return ""


def _short(found: Effect) -> str:
    """The sentence for too few trainings."""
    return "" if found.decides else f" ({found.verdict})"
