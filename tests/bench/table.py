"""Rows of a benchmark and how they are timed: interleaved runs in one process, medians."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

_STARTED = time.perf_counter()
_ABSENT = {"fast bf16": "this CPU has no avx512_bf16, and emulated bfloat16 is slower than float32"}


@dataclass(frozen=True)
class Row:
    """One measurement beside what was asked of it; ``measured`` is None where it could not be made, see ``note``."""

    workload: str
    measured: float | None
    unit: str
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """PASS, BELOW or ABOVE; a dash where nothing was asked, "not measured" where something was."""
        if self.least is None and self.most is None:
            return "–"
        if self.measured is None:
            return "not measured"
        if self.least is not None and self.measured < self.least:
            return "BELOW"
        return "ABOVE" if self.most is not None and self.measured > self.most else "PASS"

    @property
    def wanted(self) -> str:
        bounds = (("at least", self.least), ("at most", self.most))
        return " and ".join(f"{words} {bound:.4g}" for words, bound in bounds if bound is not None)


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int = 5,
    *,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each candidate over ``repeats`` rounds in which each runs once, after one that warms up.

    Of work on one thread, ``time.process_time`` leaves out what else the machine does.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warm_up, repeats):
        for name, run in candidates.items():
            started = clock()
            run()
            if turn >= 0:
                times[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def ratio(
    workload: str,
    times: Mapping[str, float],
    peer: str,
    ours: str,
    *,
    least: float | None = None,
    note: str = "",
) -> Row:
    """How many times faster ``ours`` is than ``peer``; a row without a number where one of them was not timed."""
    for name in (peer, ours):
        if name not in times:
            return Row(
                workload, None, "x", least=least, note=_ABSENT.get(name, f"peer not installed: {name}")
            )
    return Row(workload, times[peer] / times[ours], "x", least=least, note=note)


def say(text: str) -> None:
    """Progress, with the seconds since the start."""
    print(f"[{time.perf_counter() - _STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


def show(title: str, rows: Iterable[Row]) -> None:
    """Print the rows."""
    table = Table(title=title)
    for column in ("workload", "measured", "wanted", "verdict", "note"):
        table.add_column(column)
    for row in rows:
        measured = "–" if row.measured is None else f"{row.measured:.4g} {row.unit}"
        table.add_row(row.workload, measured, row.wanted, row.verdict, row.note)
    Console(width=160).print(table)
