"""A table for a paper: pandas writes the LaTeX, with rules of the package booktabs and nothing else beside a plain
LaTeX."""

from __future__ import annotations

import re

import pandas as pd

SIGNS = {
    "\u00a0": "~",
    "\u2011": "-",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "ε": r"$\varepsilon$",
    "ρ": r"$\rho$",
    "β": r"$\beta$",
    "Φ": r"$\Phi$",
    "Ω": r"$\Omega$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "“": "``",
    "”": "''",
    "æ": r"\ae{}",
    "<": "$<$",
    ">": "$>$",
}
"""What a reader of the tables sees, as pdfLaTeX knows it; what LaTeX reads as a command is escaped before."""
COMMANDS = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_SIGN = re.compile("|".join(map(re.escape, (*COMMANDS, *SIGNS))))


def to_latex(cells: pd.DataFrame, caption: str, *, header: int, left: tuple[str, ...], best: str) -> str:
    """A ``table`` environment of ready cells.

    Args:
        cells: strings. Lines of a cell after the first are set small, below it.
        header: the first columns are row headings, blank where they repeat the row above.
        left: further columns set flush left.
        best: the mark at the end of a line that is set bold.
    """
    frame = cells.copy()
    for place in range(header - 1):
        frame.isetitem(place, _without_repeats(cells, place))
    names = [str(name) for name in cells.columns]
    words = [place < header or name in left for place, name in enumerate(names)]
    for place, word in enumerate(words):
        frame.isetitem(place, [_cell(cell, best, "l" if word else "r") for cell in frame.iloc[:, place]])
    frame.columns = pd.Index([_guarded(escape(name)) for name in names])
    styled = frame.style.hide(axis="index")
    return styled.to_latex(
        column_format="".join("l" if word else "r" for word in words),
        position="htbp",
        position_float="centering",
        hrules=True,
        caption=escape(caption),
    )


def escape(text: str) -> str:
    r"""Text as LaTeX source.

    >>> escape("PGD_40 & 50 % at ε = 8/255 {a\\b}")
    'PGD\\_40 \\& 50 \\% at $\\varepsilon$ = 8/255 \\{a\\textbackslash{}b\\}'
    """
    return _SIGN.sub(lambda sign: COMMANDS.get(sign[0]) or SIGNS[sign[0]], text)


def _without_repeats(cells: pd.DataFrame, place: int) -> list[str]:
    rows = [tuple(row[: place + 1]) for row in cells.itertuples(index=False)]
    return [row[-1] if number == 0 or row != rows[number - 1] else "" for number, row in enumerate(rows)]


def _cell(cell: str, best: str, side: str) -> str:
    lines = [
        f"\\textbf{{{escape(line)}}}" if line.endswith(best) else escape(line) for line in cell.split("\n")
    ]
    if len(lines) > 1:
        below = " \\\\ ".join([lines[0], *(f"{{\\scriptsize {line}}}" for line in lines[1:])])
        return f"\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{below}\\end{{tabular}}"
    return _guarded(lines[0])


def _guarded(cell: str) -> str:
    """In braces where LaTeX would read a leading "[" as an option of the rule or line break before it."""
    return f"{{{cell}}}" if cell.startswith("[") else cell
