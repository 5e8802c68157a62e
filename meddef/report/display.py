"""Output of notebook cells: text and tables that read well in a terminal, a notebook and the book."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from meddef.catalogue import PUBLISHED_ATTACKS
from meddef.report.latex import to_latex

DASH = "–"
NO_BREAK = "\u00a0"
BEST = "*"  # behind the best value of a group
NOTHING = "This profile holds no records for it."


class Text(str):
    """Markdown as the last value of a notebook cell."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


def listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def bullets(sentences: list[str]) -> Text:
    """A Markdown list, with a note if it is empty."""
    return Text("\n".join(f"- {sentence}" for sentence in sentences) or NOTHING)


@dataclass(frozen=True)
class Table:
    """A table of ready cells; ``None`` and NaN show as a dash.

    The first ``header`` columns are row headings, blank where they repeat the row above. With two or more, the first
    one becomes a line of its own above its rows. Columns in ``left`` are set flush left. Lines of a cell after the
    first are set small.
    """

    frame: pd.DataFrame
    caption: str
    header: int = 1
    left: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if self.frame.empty:
            return f"{self.caption}\n{NOTHING}"
        flat = self._cells().map(lambda cell: cell.replace("\n", " "))
        return f"{self.caption}\n{flat.to_string(index=False)}"

    def _repr_html_(self) -> str:
        if self.frame.empty:
            return f"<p>{escape(self.caption)} <em>{NOTHING}</em></p>"
        first = 1 if self.header > 1 else 0
        names = [str(name) for name in self.frame.columns]
        heads = "".join(self._tag("th", i, names[i], ' scope="col"') for i in range(first, len(names)))
        rows, previous = [], [""] * len(names)
        for cells in self._cells().itertuples(index=False):
            row = list(cells)
            if first and row[0] != previous[0]:
                span = f'<th colspan="{len(names) - 1}" scope="rowgroup">{_lines(row[0])}</th>'
                rows.append(f'<tr class="group">{span}</tr>')
            rows.append(f"<tr>{self._row(row, previous, first)}</tr>")
            previous = row
        return (
            f'<div class="meddef-scroll" tabindex="0"><table class="meddef"><caption>{escape(self.caption)}'
            f"</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )

    def to_latex(self) -> str:
        """A LaTeX ``table``; the preamble needs ``\\usepackage{booktabs}``."""
        return to_latex(self._cells(), self.caption, header=self.header, left=self.left, best=BEST)

    def _row(self, row: list[str], previous: list[str], first: int) -> str:
        cells = ""
        for i in range(first, len(row)):
            repeated = i < self.header - 1 and row[: i + 1] == previous[: i + 1]
            heading = i < self.header
            cells += (
                self._tag("th", i, "" if repeated else row[i], ' scope="row"')
                if heading
                else self._tag("td", i, row[i])
            )
        return cells

    def _tag(self, tag: str, column: int, text: str, attributes: str = "") -> str:
        words = self.frame.columns[column] in self.left
        left = (_LONG if words and len(text) > SENTENCE else _LEFT) * (words or column < self.header)
        if not text:
            return f"<td{left}></td>"  # a blank heading is none
        lines = _lines(text if words else _TOGETHER.sub(NO_BREAK, text))
        return f"<{tag}{left}{attributes}>{lines}</{tag}>"

    def _cells(self) -> pd.DataFrame:
        return self.frame.map(lambda value: DASH if pd.isna(value) else str(value))


def _lines(cell: str) -> str:
    first, *below = (_marked(escape(line)) for line in cell.split("\n"))
    return first + "".join(
        f"<br><small{_PAPER * line.startswith(('paper ', '<b>paper '))}>{line}</small>" for line in below
    )


def _marked(line: str) -> str:
    """Bold where it ends with the mark of the best."""
    return f"<b>{line}</b>" if line.endswith(BEST) else line


# The spaces in "ε = 0.05", "↓ −43.1" and "68 min".
_TOGETHER = re.compile(r" (?== )|(?<= =) (?=\d)|(?<=[↓→↑]) |(?<=\d) (?=(?:%|px|h|min|s|x|[kMG]?B)(?:\W|$))")
_LEFT, _LONG, _PAPER = ' class="left"', ' class="left long"', ' class="paper"'
SENTENCE = 60  # characters from which a cell needs room for a sentence


def percent(row: Mapping[Any, Any] | pd.Series, rate: str) -> str:
    """``row[rate]`` with its interval below it: "93.5" and "[90.1, 95.9]"; over seeds "93.5 ± 0.4"."""
    value, low, high = (row[f"{rate}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return DASH
    spread = row.get(f"{rate}_spread", float("nan"))
    value, low, high = (round(number, 9) for number in (value, low, high))  # a mean of 84.75 may be 84.74999
    over_seeds = "" if pd.isna(spread) else f" ± {spread:.1f}"
    return f"{value:.1f}{over_seeds}\n[{low:z.1f}, {high:z.1f}]"


def in_words(row: Mapping[Any, Any], rate: str) -> str:
    """``percent`` in a sentence: "93.5 % [90.1, 95.9]"; over seeds "93.5 ± 0.4 % [90.1, 95.9]"."""
    return percent(row, rate).replace("\n", " % ")


def budget(eps: float) -> str:
    """An ε as its reader knows it: "8/255" for what was rounded from grey levels, else "0.05"."""
    levels = 255 * eps
    whole = round(levels)
    return f"{whole}/255" if whole and abs(levels - whole) < 1e-3 else f"{eps:g}"


def seeds_note(seeds: Iterable[int]) -> str:
    """The caption's note on means over seeds; empty with one. ``seeds`` are the numbers of seeds of the cells."""
    counts = sorted(set(seeds))
    if not counts or counts[-1] == 1:
        return ""
    fewer = " Cells with fewer seeds are marked." if len(counts) > 1 else ""
    return (
        f" Means over {counts[-1]} seeds ± standard deviation over seeds; the interval, averaged over seeds, is for "
        f"the choice of images, which the seeds share.{fewer}"
    )


_SPELLED = {"eps": "ε", "epsilon": "ε", "table5": "Table 5"} | {
    name: name.upper() for name in (*PUBLISHED_ATTACKS, "asr")
}


def in_plain_words(name: str) -> str:
    """A name of the code in running text: "jsma_ignores_epsilon" -> "JSMA ignores ε"."""
    return re.sub(r"\w+", lambda word: _SPELLED.get(word[0], word[0]), name.replace("_", " "))


def p_text(p_value: float) -> str:
    """ "0.042" or "< 0.001"."""
    return f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"


def beside(measured: str, published: Any) -> str:
    """A measured cell with the published value below it."""
    return measured if pd.isna(published) else f"{measured}\npaper {published}"


PLACES = (
    ("fig", "Fig. "), ("table", "Table "), ("abstract", "abstract"), ("code", "code"), ("data", "data"),
)  # fmt: skip


def place(section: str) -> str:
    """Where in the paper, kept on one line: "V-D" -> "Section V-D", "fig6" -> "Fig. 6", "table1" -> "Table 1"."""
    for short, long in PLACES:
        if section.startswith(short):
            return (long + section.removeprefix(short)).replace(" ", "\u00a0")
    return f"Section {section}".replace(" ", "\u00a0").replace("-", "\u2011")
