"""CSV that the package writes: a word that a spreadsheet would run is shown as it is; numbers stay numbers."""

import csv
import io

import pandas as pd
import pytest

from meddef.csv_text import csv_line, csv_table, plain_cell
from meddef.figures.drawing import SvgFigure

FORMULAS = ('=HYPERLINK("x")', "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
AS_THEY_ARE = ("", "a=b", "−0.5", "-", "-0.5", "+1e-3", "-inf", "'=1", -0.5, 3, None, True)


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_word_is_no_formula(cell: str) -> None:
    (read,) = next(csv.reader(io.StringIO(csv_line([cell]), newline="")))
    assert read == f"'{cell}"


@pytest.mark.parametrize("cell", AS_THEY_ARE)
def test_numbers_and_other_words_are_as_they_are(cell: object) -> None:
    assert plain_cell(cell) is cell


def test_a_table_has_a_header_and_empty_fields_where_a_row_has_nothing() -> None:
    made = csv_table(["=a", "b"], [{"=a": "@x", "b": -1.5}, {"b": None}])
    assert made == "'=a,b\n'@x,-1.5\n,\n"


def test_the_numbers_of_a_figure_are_written_the_same_way() -> None:
    figure = SvgFigure()
    figure.numbers = pd.DataFrame(
        {"title": ["=1+1", None, "Eyes"], "=rate": [-0.5, 0.25, 1.0], "n": [1, 2, 3]}
    )
    assert figure.csv() == "title,'=rate,n\n'=1+1,-0.5,1\n,0.25,2\nEyes,1,3\n"
    figure.numbers = pd.DataFrame({"step": pd.Series([1 / 600, None], dtype=object), "kind": ["=a", "b"]})
    assert figure.csv() == f"step,kind\n{1 / 600!r},'=a\n,b\n"  # as pandas writes such a column
    assert list(figure.numbers["kind"]) == ["=a", "b"]
