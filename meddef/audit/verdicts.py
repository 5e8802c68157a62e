"""Turning many comparisons into one verdict and one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from meddef.audit.finding import Verdict, verdict_of

Result = tuple[Verdict, str]
SHOWN = 4


def every(comparisons: Sequence[tuple[bool, str]]) -> Result:
    """Holds if all do. Each comparison is (whether it holds, its numbers); some that do not are quoted."""
    exceptions = [words for holds, words in comparisons if not holds]
    detail = f"{len(comparisons) - len(exceptions)} of {len(comparisons)} comparisons hold"
    if exceptions:
        more = f"; and {len(exceptions) - SHOWN} more" if len(exceptions) > SHOWN else ""
        detail += f"; not so: {'; '.join(exceptions[:SHOWN])}{more}"
    return verdict_of(not exceptions), f"{detail}."


def some(comparisons: Sequence[tuple[bool, str]]) -> Result:
    """Holds if any does; some that do are quoted."""
    examples = [words for holds, words in comparisons if holds]
    detail = f"{len(examples)} of {len(comparisons)} comparisons hold"
    if examples:
        detail += f", as {'; '.join(examples[:SHOWN])}"
    return verdict_of(bool(examples)), f"{detail}."
