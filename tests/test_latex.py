"""Tables as LaTeX: every sign that LaTeX reads as a command, two-line cells, repeated headings, and the file of a
command."""

import re

import pandas as pd
import pytest

from meddef.report.display import Table
from meddef.report.latex import COMMANDS, SIGNS, escape


def body(text: str) -> list[str]:
    """The rows between the rules, header first."""
    rows = re.search(r"\\toprule\n(.*)\\bottomrule", text, re.S)[1]  # type: ignore[index]
    return [row for row in rows.splitlines() if row != "\\midrule"]


def test_a_table_is_a_booktabs_table_with_its_caption() -> None:
    frame = pd.DataFrame(
        {"attack": ["PGD_40", "FGSM"], "ε": ["8/255", "0.05"], "robust": ["93.5 ± 0.4*", None]}
    )
    text = Table(frame, "Robust & clean, 95 %", left=("ε",)).to_latex()
    assert text == (
        "\\begin{table}[htbp]\n\\centering\n\\caption{Robust \\& clean, 95 \\%}\n\\begin{tabular}{llr}\n\\toprule\n"
        "attack & $\\varepsilon$ & robust \\\\\n\\midrule\n"
        "PGD\\_40 & 8/255 & \\textbf{93.5 $\\pm$ 0.4*} \\\\\n"
        "FGSM & 0.05 & -- \\\\\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_a_second_line_is_small_and_a_bracket_is_no_option_of_the_line_break() -> None:
    frame = pd.DataFrame([["a", "93.5\n[90.1, 95.9]"], ["[b]", "[c]"]], columns=["[x]", "y"])
    header, first, second = body(Table(frame, "t").to_latex())
    assert header == "{[x]} & y \\\\"
    assert first == "a & \\begin{tabular}[t]{@{}r@{}}93.5 \\\\ {\\scriptsize [90.1, 95.9]}\\end{tabular} \\\\"
    assert second == "{[b]} & {[c]} \\\\"


def test_a_repeated_heading_is_blank_only_below_the_same_headings() -> None:
    frame = pd.DataFrame([["a", "x", "1"], ["a", "x", "2"], ["b", "x", "3"]], columns=["p", "q", "r"])
    _, *rows = body(Table(frame, "t", header=3).to_latex())
    assert rows == ["a & x & 1 \\\\", " &  & 2 \\\\", "b & x & 3 \\\\"]


@pytest.mark.parametrize("sign", ["&", "%", "$", "#", "_", "{", "}", "\\", "~", "^"])
def test_no_sign_of_a_cell_is_a_command_of_latex(sign: str) -> None:
    frame = pd.DataFrame([[f"a{sign}b"]], columns=[f"c{sign}"])
    text = Table(frame, f"t{sign}").to_latex()
    assert text.count(escape(sign)) >= 3
    assert body(text)[1] == f"a{escape(sign)}b \\\\"
    bare = re.sub(r"\\(?:[&%$#_{}]|text\w+\{\})", "", escape(f"a{sign}b"))
    assert bare == "ab"


def test_every_sign_is_plain_ascii_in_latex() -> None:
    known = "".join((*SIGNS, *COMMANDS))
    assert escape(known).isascii()
    assert escape("ε = 8/255 ± 1 – “x”") == "$\\varepsilon$ = 8/255 $\\pm$ 1 -- ``x''"
