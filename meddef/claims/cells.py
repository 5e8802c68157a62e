"""Checks written out into comparisons of cells, the same for printed and measured numbers.

A cell is one number: the accuracy or attack success rate of a model under a condition. A *contrast* is a signed mean of
cells, positive if it supports the claim; a *level* is one cell with its expected range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from meddef.catalogue import usual_training
from meddef.claims.model import (
    ALONE,
    EPS,
    REMOVALS,
    WORST,
    Bound,
    Condition,
    Largest,
    Metric,
    Ordering,
    Synergy,
    Trend,
    Value,
    Values,
)  # fmt: skip
from meddef.report.labels import LABELS, training_label
from meddef.report.report import PAPER_DATASETS

NEAR = 10  # points that count as "near 100 %"
SHORT = {name: label.replace("MedDef ", "").strip("()") for name, label in LABELS.items()}
Says = Literal["higher", "no_lower", "stable"]
SAYS: dict[str, Says] = {
    "falls": "higher", "rises": "higher", "no_higher": "no_lower", "no_lower": "no_lower", "stable": "stable",
}  # fmt: skip


def dataset_words(dataset: str) -> str:
    """As the paper writes it."""
    return PAPER_DATASETS.get(dataset, dataset)


def attack_words(attack: str) -> str:
    """As the paper writes it, or "clean"."""
    return {"clean": "clean", WORST: "worst case"}.get(attack, attack.upper())


@dataclass(frozen=True)
class Cell:
    """A number in percent. ``model`` as in ``Ordering``; without attack, ``attack`` is "clean" and ε 0."""

    dataset: str
    model: str
    metric: Metric
    attack: str
    eps: float
    rate: float
    label: str | None = None

    @property
    def variant(self) -> str:
        return self.model.partition("/")[0]

    @property
    def training(self) -> str:
        """As named, or as the paper trains it."""
        return self.model.partition("/")[2] or usual_training(self.variant)

    @property
    def condition(self) -> str:
        """ "Chest X-Ray PGD ε 0.05", with "ASR" and the pruning rate where they belong."""
        parts = [dataset_words(self.dataset), attack_words(self.attack)]
        if self.eps and self.metric == "robust":
            parts.append(f"ε {self.eps:.2f}")
        if self.metric == "asr":
            parts.append("ASR")
        if self.rate or self.metric == "asr":
            parts.append(f"at {100 * self.rate:.0f} %")
        return " ".join(parts)

    @property
    def who(self) -> str:
        """The model, with its training where that is not the usual one."""
        named = self.model.partition("/")[2]
        return SHORT[self.variant] + (f" ({training_label(named)})" if named else "")


@dataclass(frozen=True)
class Contrast:
    """``terms``, each (sign, cell), whose signed sum over ``count`` is said to be positive.

    ``says`` "higher": above 0, or 0 where ``ties`` count; "no_lower": not below 0; "stable": 0. Signs are those of
    accuracy: an attack success rate enters with the other one. ``slack``: printed numbers are held to the margin of
    equivalence, not to 0. ``start``: where a trend starts, which may be the floor; ``change``: what is positive in it.
    """

    terms: tuple[tuple[int, Cell], ...]
    says: Says
    words: str
    count: int = 1
    ties: bool = False
    slack: bool = False
    start: Cell | None = None
    change: str = ""
    beyond_chance: bool = False

    def tested(self, margin: float) -> str:
        """ ", tested against: within ±5 points", where that is what is said; else nothing."""
        if self.says == "stable":
            return f", tested against: within ±{margin:g} points"
        return f", tested against: at most {margin:g} points lower" if self.says == "no_lower" else ""


@dataclass(frozen=True)
class Level:
    """One cell, or its difference to ``minus``, and its printed ``value`` or the bounds that it lies within."""

    cell: Cell
    words: str
    minus: Cell | None = None
    value: str | None = None
    low: float | Literal["constant"] | None = None
    high: float | Literal["constant"] | None = None
    near: float | None = None
    strict: bool = False

    def tested(self, constant: float) -> str:
        """ ", tested against: above the constant classifier, 68 %"; ``constant``: its share in percent."""

        def end(value: float | str) -> str:
            return f"the constant classifier, {constant:.0f} %" if value == "constant" else f"{value:g} %"

        if self.near is not None:
            return f", tested against: within ±{NEAR} of {self.near:g} %"
        more, less = ("above", "below") if self.strict else ("at least", "at most")
        parts = [
            f"{word} {end(value)}"
            for word, value in ((more, self.low), (less, self.high))
            if value is not None
        ]
        return f", tested against: {' and '.join(parts)}"


Comparison = Contrast | Level
Compared = Ordering | Trend | Largest | Synergy | Bound | Values


def comparisons(check: Compared) -> list[Comparison]:
    """Every comparison of a check."""
    match check:
        case Ordering():
            return list(_ordering(check))
        case Trend():
            return list(_trend(check))
        case Largest():
            return list(_largest(check))
        case Synergy():
            return list(_synergy(check))
        case Bound():
            return list(_bound(check))
        case Values():
            return list(_values(check))


def conditions(check: Condition) -> Iterator[tuple[Metric, str, float, float]]:
    """(metric, attack, ε, rate) of a check; clean accuracy has neither attack nor ε."""
    for metric in check.metrics:
        if metric == "clean":
            yield from ((metric, "clean", 0.0, rate) for rate in check.rates)
        else:
            budgets = check.eps if metric == "robust" or "eps" in check.model_fields_set else (EPS,)
            yield from ((metric, a, e, r) for r, e, a in product(check.rates, budgets, check.attacks))


def _ordering(check: Ordering) -> Iterator[Comparison]:
    for dataset, (better, than) in product(check.datasets, check.pairs):
        for condition in conditions(check):
            first, second = (Cell(dataset, model, *condition) for model in (better, than))
            words = f"{first.condition}: {first.who} against {second.who}"
            slack = check.says == "no_lower"
            ties = check.rule == "every"  # that one is somewhere ahead takes more than a tie
            yield Contrast(((1, first), (-1, second)), check.says, words, ties=ties, slack=slack)


def _trend(check: Trend) -> Iterator[Comparison]:
    """From ``start`` to each of ``to``, in the sense of accuracy: a rise of the attack success rate is a fall."""
    for dataset, model in product(check.datasets, check.variants):
        for metric, attack, eps, rate in _fixed(check):
            for end in check.to:
                ends = [
                    Cell(dataset, model, *_placed(check, metric, attack, eps, rate, place))
                    for place in (end, check.start)
                ]
                yield _change(check, ends[0], ends[1])


def _fixed(check: Trend) -> Iterator[tuple[Metric, str, float, float]]:
    """The conditions of a trend with the axis that it runs along taken out."""
    axis = {"eps": "eps", "rate": "rates", "attack": "attacks"}[check.along]
    yield from conditions(check.model_copy(update={axis: ("",) if axis == "attacks" else (0.0,)}))


def _placed(
    check: Trend, metric: Metric, attack: str, eps: float, rate: float, place: float | str
) -> tuple[Metric, str, float, float]:
    """A condition at one place of the axis."""
    if check.along == "eps":
        return metric, attack, float(place), rate
    if check.along == "rate":
        return metric, attack, eps, float(place)
    return ("clean", "clean", 0.0, rate) if place == "clean" else (metric, str(place), eps, rate)


def _change(check: Trend, end: Cell, start: Cell) -> Contrast:
    words = f"{start.condition} to {_axis(check, end)}: {end.who}"
    if check.than:  # what is lost by the one minus what is lost by the other
        ends = [Cell(c.dataset, check.than, c.metric, c.attack, c.eps, c.rate) for c in (end, start)]
        terms = ((1, end), (-1, start), (-1, ends[0]), (1, ends[1]))
        words += f" against {ends[0].who}"
        return Contrast(terms, "higher", words, ties=True, start=start, change="lost less")
    up = check.direction in ("rises", "no_lower", "stable")
    sign = 1 if up == (end.metric != "asr") else -1
    return Contrast(
        ((sign, end), (-sign, start)), SAYS[check.direction], words, start=start,
        change="rise" if sign > 0 else "fall", beyond_chance=check.beyond_chance,
    )  # fmt: skip


def _axis(check: Trend, end: Cell) -> str:
    if check.along == "eps":
        return f"{end.eps:.2f}"
    return f"{100 * end.rate:.0f} %" if check.along == "rate" else attack_words(end.attack)


def _largest(check: Largest) -> Iterator[Comparison]:
    """The loss of accuracy without ``component``, minus that without another one."""
    for dataset, other in product(check.datasets, (name for name in REMOVALS if name != check.component)):
        terms: list[tuple[int, Cell]] = []
        for condition in conditions(check):
            for sign, name in ((1, check.component), (-1, other)):
                kept, removed = (Cell(dataset, model, *condition) for model in REMOVALS[name])
                terms += [(sign, kept), (-sign, removed)]
        words = f"{dataset_words(dataset)}: what removing {check.component} costs against {other}, on average"
        yield Contrast(tuple(terms), "higher", words, count=len(terms) // 4)


def _synergy(check: Synergy) -> Iterator[Comparison]:
    """(full - none) - sum of (one alone - none), where none has no component: full + 2 none - the three alone."""
    for dataset in check.datasets:
        for condition in conditions(check):
            full, none, *alone = (
                Cell(dataset, model, *condition) for model in ("full", "no_afd_mfe_msf", *ALONE)
            )
            terms = ((1, full), (1, none), (1, none), *((-1, cell) for cell in alone))
            yield Contrast(
                terms, "higher", f"{full.condition}: the full model's gain less those of its components"
            )


def _bound(check: Bound) -> Iterator[Comparison]:
    for dataset, model in product(check.datasets, check.variants):
        for condition in conditions(check):
            cell = Cell(dataset, model, *condition)
            words = f"{cell.condition}: {cell.who}"
            yield Level(cell, words, None, None, check.low, check.high, near=check.near, strict=check.strict)


def _values(check: Values) -> Iterator[Comparison]:
    for value in check.values:
        cell, other = (_cell(value, model) for model in (value.variant, value.minus or value.variant))
        words = f"{cell.condition}: {cell.who}" + (f" minus {other.who}" if value.minus else "")
        yield Level(cell, words, other if value.minus else None, value.value)


def _cell(value: Value, model: str) -> Cell:
    eps = 0.0 if value.attack == "clean" else value.eps
    return Cell(value.dataset, model, value.metric, value.attack, eps, value.rate, value.label)
