"""How long cells took: added up, and by the clock, since several may run at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from meddef.records import Record


def at_once(provenance: Iterable[Record]) -> float:
    """How many cells were at work at a time: the seconds of all of them over the time in which any was."""
    rows = list(provenance)
    return sum(row["seconds"] for row in rows) / busy(rows)


def busy(provenance: Iterable[Record]) -> float:
    """Seconds in which at least one cell was at work, by the clock."""
    ends = [(datetime.fromisoformat(row["finished"]).timestamp(), row["seconds"]) for row in provenance]
    total, reached = 0.0, 0.0
    for start, end in sorted((end - seconds, end) for end, seconds in ends):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def duration(seconds: float) -> str:
    """ "45 s", "12 min" or "3.4 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def computing_time(provenance: list[Record]) -> str:
    """ "59 min, added up over cells that ran 5.2 at a time: 11 min by the clock"; of cells in turn "59 min"."""
    total = duration(sum(cell["seconds"] for cell in provenance))
    if len(provenance) < 2 or (beside := at_once(provenance)) < 1.05:
        return total
    return (
        f"{total}, summed over cells, {beside:.1f} of which ran at a time: {duration(busy(provenance))} of "
        "wall-clock time"
    )
