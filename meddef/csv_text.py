"""Lines of CSV that a spreadsheet shows as they are: a word is never taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_line(cells: Iterable[Any]) -> str:
    """One line of CSV, with its end.

    >>> csv_line(["=1+1", "-0.5", -0.5, "a, b"])
    "'=1+1,-0.5,-0.5,\"a, b\"\\n"
    """
    text = io.StringIO()
    csv.writer(text).writerow(
        [plain_cell(cell) for cell in cells]
    )  # ends in \r\n, so that a cell with either is quoted
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and one line per row; None, and a column that a row does not have, are an empty field."""
    lines = [csv_line(columns), *(csv_line([row.get(name) for name in columns]) for row in rows)]
    return "".join(lines)


def plain_cell(cell: Any) -> Any:
    """The cell, with ``'`` before it if it is a word that a spreadsheet would take for a formula; numbers as they are.

    Source: OWASP, "CSV Injection".
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULA) or len(cell) == 1:
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
