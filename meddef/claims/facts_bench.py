"""Time and size after pruning, from one benchmark independent of profiles (``results/bench/compression.json``).

Each function is named by a check of kind "fact" and takes the benchmark's rows, by pruning rate, and what the check
gives; None where the rows do not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome
from meddef.records import Record
from meddef.report.report import Report

BENCH = "bench"
NOISE = 20.0  # run-to-run variation of the benchmark, in percent of the time
Rows = Mapping[float, Record]
Given = dict[str, Any]


def pruned(report: Report) -> tuple[str, Rows]:
    """A description for headings, and pruning rate -> row; without rows if not measured."""
    bench = report.bench("compression")
    rows = {r["prune_rate"]: r for r in bench.of("compression") if "dense_ms" in r} if bench else {}
    titles = {"phantom_xray": "X-ray phantoms", "phantom_oct": "OCT phantoms"}
    names = dict.fromkeys(titles.get(str(row["dataset"]), str(row["dataset"])) for row in rows.values())
    return f"bench: {', '.join(names)}, one model, one CPU thread, one run", rows


def overhead(rows: Rows, given: Given) -> Outcome | None:
    """Time of inference after pruning against before, dense or sparse: a single run, so that small savings remain
    open."""
    if 0.0 not in rows:
        return None
    before = rows[0.0]["dense_ms"]
    more = [
        100 * (min(rows[rate]["dense_ms"], rows[rate]["sparse_ms"]) / before - 1)
        for rate in given["rates"]
        if rate in rows
    ]
    if not more:
        return None
    low, high = min(more), max(more)
    least = f"at least {given['least']:g} %" if given["least"] else "any time"
    change = f"{low:+.0f} % time" if len(more) == 1 else f"{low:+.0f} to {high:+.0f} % time"
    at = " to ".join(dict.fromkeys(f"{100 * end(given['rates']):.0f} %" for end in (min, max)))
    words = f"{change} at {at} pruning, dense or sparse, whichever is faster; tested against {least} saved"
    if low >= 0:
        return Outcome(
            FAILS,
            f"no faster: {words}; zeros do not reduce the number of operations; timing noise not excluded",
        )
    held = high <= -max(given["least"], NOISE)
    return Outcome(HOLDS if held else OPEN, words + ("" if held else "; timing noise not excluded"))


def smaller(rows: Rows, given: Given) -> Outcome | None:
    """Bytes of the pruned model, dense or sparse, whichever is smaller, against before."""
    if not {0.0, given["rate"]} <= set(rows):
        return None
    before = rows[0.0]["dense_bytes"]
    after = min(rows[given["rate"]][name] for name in ("dense_bytes", "sparse_bytes"))
    words = f"{after / 1e6:.0f} MB at {100 * given['rate']:.0f} % pruning, {before / 1e6:.0f} MB unpruned"
    return Outcome(HOLDS if after < before else FAILS, words)


FACTS: dict[str, Callable[[Rows, Given], Outcome | None]] = {
    function.__name__: function for function in (overhead, smaller)
}
