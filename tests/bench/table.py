"""Rows of a benchmark and how they are timed: interleaved runs in one process, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measurement beside what was asked of it."""

    workload: str
    measured: str
    wanted: str
    met: bool


def interleaved(candidates: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each candidate over ``repeats`` rounds in which each runs once; one round warms up."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            started = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def at_most(workload: str, seconds: float, limit: float) -> Row:
    """A row for a duration with an upper limit."""
    return Row(workload, f"{seconds:.1f} s", f"at most {limit:g} s", seconds <= limit)


def at_least(workload: str, value: float, limit: float, unit: str) -> Row:
    """A row for a rate or ratio with a lower limit."""
    return Row(workload, f"{value:.1f} {unit}", f"at least {limit:g} {unit}", value >= limit)


def show(title: str, rows: list[Row]) -> None:
    """Print the rows."""
    table = Table(title=title)
    for column in ("workload", "measured", "wanted", "met"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.workload, row.measured, row.wanted, "yes" if row.met else "no")
    Console(width=140).print(table)
