"""A figure with its numbers, their records, and the function that drew it."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from meddef.csv_text import plain_cell
from meddef.figures.origin import digest, origin
from meddef.figures.svg import compact
from meddef.records import Record
from meddef.report.report import Report

MIME = "application/vnd.meddef.figure+json"
_UNSAID = ("Creator", "Date", "Format", "Type")

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "svg.hashsalt": "meddef",
    "svg.fonttype": "none",
}

P = ParamSpec("P")
T = TypeVar("T")


class SvgFigure(Figure):
    """A figure displayed as SVG in a notebook, byte-identical for the same drawing.

    ``numbers`` is the data drawn, as a tidy table; None for a figure that only reports missing data.
    """

    numbers: pd.DataFrame | None = None
    records: tuple[Record, ...] = ()
    report: Report | None = None
    function = ""
    command: str | None = None
    arguments: dict[str, Any] = {}  # noqa: RUF012

    def showing(
        self, report: Report, numbers: pd.DataFrame, records: Iterable[Record], *, command: str | None = None
    ) -> SvgFigure:
        """This figure, with its data, their records, and the command that computes them if not the profile's ``meddef
        reproduce``."""
        self.report, self.numbers, self.records, self.command = report, numbers, tuple(records), command
        return self

    def csv(self) -> str:
        """``numbers``, six significant digits each."""
        if self.numbers is None:
            raise ValueError("this figure shows no numbers")
        numbers = self.numbers.rename(columns=plain_cell)
        for name in numbers.columns:
            if not is_numeric_dtype(numbers[name]):
                cells = [plain_cell(cell) for cell in numbers[name]]
                numbers[name] = pd.Series(cells, index=numbers.index, dtype=object)
        return numbers.to_csv(index=False, float_format="%.6g", lineterminator="\n")

    def content(self) -> dict[str, Any] | None:
        """The notebook's metadata of the figure: function, arguments, numbers and provenance; None without numbers."""
        if self.numbers is None or self.report is None:
            return None
        made = {"function": self.function, "arguments": self.arguments, "numbers": self.csv()}
        if self.command:
            made["command"] = self.command
        return {**made, "real": self.report.is_real, "origin": origin(self.report, self.records)}

    def svg(self) -> str:
        """The image; its metadata contain the SHA-256 of the numbers drawn."""
        buffer = io.StringIO()
        shown = {} if self.numbers is None else {"Identifier": f"sha256:{digest(self.csv())}"}
        with matplotlib.rc_context(RC):
            self.savefig(buffer, format="svg", metadata={**dict.fromkeys(_UNSAID), **shown})
        return compact(buffer.getvalue())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        content = self.content()
        kept = {MIME: json.loads(json.dumps(content))} if content else {}
        return {"text/plain": "a figure", "image/svg+xml": self.svg(), **kept}


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Run a drawing function with the project's style, without changing the caller's settings; its figure records
    it."""
    signature = inspect.signature(function)

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(RC):
            figure = function(*args, **kwargs)
        if isinstance(figure, SvgFigure):
            figure.function = f"{function.__module__}.{function.__name__}"
            given = signature.bind(*args, **kwargs).arguments
            figure.arguments = {
                name: value for name, value in given.items() if isinstance(value, (str, int, float))
            }
        return figure

    return inside
