"""Comparisons judged by the paper's printed numbers, as exact decimals."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from meddef.claims.cells import NEAR, SHORT, Cell, Comparison, Contrast, Level, attack_words
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome
from meddef.printed.bim_vs_pgd import margin as chance
from meddef.printed.published import ATTACKS, EPSILONS, RATES, Published
from meddef.statistics import MARGIN_ATTACKED, MARGIN_CLEAN

FIGURE_EPSILONS = (0.05, 0.10)  # of the figures of attack success; Tables 3 and 4 print none
Interval = tuple[Decimal, Decimal]


class Printed:
    """Tables 1 to 4 as a source of verdicts."""

    def __init__(self, published: Published) -> None:
        self.published = published

    def judge(self, comparisons: Sequence[Comparison]) -> list[Outcome]:
        """One outcome for each comparison whose cells are all printed."""
        judged = [self._contrast(c) if isinstance(c, Contrast) else self._level(c) for c in comparisons]
        return [outcome for outcome in judged if outcome]

    def cell(self, cell: Cell) -> Decimal | None:
        """The value in Tables 1 to 4, in percent; None if not printed."""
        table = self.published
        if cell.label or cell.training != Cell(cell.dataset, cell.variant, "clean", "", 0, 0).training:
            return None
        if cell.metric == "asr":
            known = cell.attack in ATTACKS and cell.rate in RATES
            return table.asr(cell.dataset, cell.variant, cell.attack, cell.rate) if known else None
        if cell.rate:
            return None
        if cell.attack == "clean":
            return table.clean(cell.dataset, cell.variant)
        known = cell.attack in ATTACKS and cell.eps in EPSILONS
        return table.accuracy(cell.dataset, cell.variant, cell.attack, cell.eps) if known else None

    def unpruned(self, cell: Cell) -> Interval:
        """Smallest and largest success rate on the unpruned model that Tables 1 and 2 allow.

        With clean accuracy c and accuracy a under attack, of all images at least c - a and at most min(c, 100 - a) were
        correct before and wrong after; divided by c these bound it. Both ε of the figures are tried.
        """
        clean = self.published.clean(cell.dataset, cell.variant)
        ends = []
        for eps in FIGURE_EPSILONS:
            after = self.published.accuracy(cell.dataset, cell.variant, cell.attack, eps)
            ends += [100 * max(clean - after, Decimal(0)) / clean, 100 * min(clean, 100 - after) / clean]
        return min(ends), max(ends)

    def _interval(self, cell: Cell, trend: bool) -> Interval | None:
        """The printed number as an interval without width, or, where a trend starts, what the tables allow for it."""
        found = self.cell(cell)
        if found is None and trend and cell.metric == "asr" and cell.rate == 0 and cell.attack in ATTACKS:
            return self.unpruned(cell)
        return None if found is None else (found, found)

    def _contrast(self, contrast: Contrast) -> Outcome | None:
        known = [self._interval(cell, contrast.start is not None) for _, cell in contrast.terms]
        low = high = Decimal(0)
        for (sign, cell), interval in zip(contrast.terms, known, strict=True):
            if interval is None:
                return None
            sign = -sign if cell.metric == "asr" else sign
            low += sign * interval[sign < 0]
            high += sign * interval[sign > 0]
        low, high = low / contrast.count, high / contrast.count
        words = _words(contrast, [interval for interval in known if interval], low, high)
        attacked = any(cell.attack != "clean" for _, cell in contrast.terms)
        margin = MARGIN_ATTACKED if attacked else MARGIN_CLEAN
        allowed = Decimal(str(margin))
        if contrast.says == "stable" or contrast.slack:
            words += contrast.tested(margin)
        if contrast.says == "stable":
            inside = -allowed <= low and high <= allowed
            return Outcome(HOLDS if inside else FAILS if low > allowed or high < -allowed else OPEN, words)
        least = Decimal(str(self._chance(contrast))) if contrast.beyond_chance else -allowed * contrast.slack
        ties = contrast.ties or contrast.says == "no_lower"
        if low > least or (ties and low == least):
            return Outcome(HOLDS, words)
        return Outcome(FAILS if high <= least else OPEN, words)

    def _chance(self, contrast: Contrast) -> float:
        """Points by which two samples of the test set may differ (95 %), at the two printed percentages."""
        (_, first), (_, second) = contrast.terms
        values = [float(self.cell(cell) or 0) for cell in (first, second)]
        return chance(values[0], values[1], self.published.test_attention_or_size(first.dataset))

    def _level(self, level: Level) -> Outcome | None:
        found = self.cell(level.cell)
        if found is None:
            return None
        if level.minus is not None:
            other = self.cell(level.minus)
            if other is None:
                return None
            found -= other
        if level.value is not None:
            same = Decimal(level.value) == found
            words = f"{level.words} is {level.value} in the text, {found} in {_table(level.cell)}"
            return Outcome(HOLDS if same else FAILS, words + ("" if same else self._elsewhere(level)))
        tested = level.tested(self.largest_class(level.cell.dataset))
        return Outcome(HOLDS if self._within(found, level) else FAILS, f"{level.words} {found} %{tested}")

    def _within(self, found: Decimal, level: Level) -> bool:
        if level.near is not None:
            return abs(found - Decimal(str(level.near))) <= NEAR
        named = [
            self.largest_class(level.cell.dataset) if end == "constant" else end
            for end in (level.low, level.high)
        ]
        ends = [None if end is None else Decimal(str(end)) for end in named]
        if level.strict:
            return (ends[0] is None or found > ends[0]) and (ends[1] is None or found < ends[1])
        return (ends[0] is None or found >= ends[0]) and (ends[1] is None or found <= ends[1])

    def largest_class(self, dataset: str) -> float:
        """Accuracy of the constant classifier, in percent."""
        classes = self.published.protocol["datasets"][dataset]["class_counts"]["test"]
        return float(100 * max(classes.values()) / sum(classes.values()))

    def _elsewhere(self, level: Level) -> str:
        """Other places of the printed value in the cell's table."""
        cell = level.cell
        if level.minus is not None:
            return ""
        asr = cell.metric == "asr"
        table = self.published.compression if asr else self.published.epsilon
        same = table[
            (table["dataset"] == cell.dataset)
            & (table["printed"] == level.value)
            & ((table["attack"] == "clean") == (cell.attack == "clean"))
        ]
        where = [
            f"{SHORT[row['variant']]}" + ("" if row["attack"] == "clean" else f" {attack_words(row['attack'])}")
            + (f" at {100 * row['prune_rate']:.0f} %" if asr else "")
            for row in same.to_dict("records")
        ]  # fmt: skip
        return f" ({level.value} is that of {', '.join(dict.fromkeys(where))})" if where else ""


def _words(contrast: Contrast, known: Sequence[Interval], low: Decimal, high: Decimal) -> str:
    if len(contrast.terms) == 2:
        (_, first), (_, second) = contrast.terms
        one, two = (f"{_range(interval)} %" for interval in known)
        if first.model != second.model:
            return f"{first.condition}: {first.who} {one}, {second.who} {two}"
        return f"{contrast.words} changes from {two} to {one}"
    return (
        f"{contrast.words}: {_range((low.quantize(Decimal('0.01')), high.quantize(Decimal('0.01'))))} points"
    )


def _range(interval: Interval) -> str:
    low, high = interval
    return f"{low}" if low == high else f"{low:.2f} to {high:.2f}"


def _table(cell: Cell) -> str:
    from meddef.printed.published import COMPRESSION_TABLE, EPSILON_TABLE

    tables = COMPRESSION_TABLE if cell.metric == "asr" else EPSILON_TABLE
    return tables[cell.dataset].replace("table", "Table ")
