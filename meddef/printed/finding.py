"""Result of a check: one verdict and one sentence with the numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["attainability", "consistency", "claim"]
Verdict = Literal["holds", "does_not_hold", "cannot_be_checked"]

HOLDS: Verdict = "holds"
DOES_NOT_HOLD: Verdict = "does_not_hold"
CANNOT_BE_CHECKED: Verdict = "cannot_be_checked"


def verdict_of(holds: bool) -> Verdict:
    """`HOLDS` if true, else `DOES_NOT_HOLD`."""
    return HOLDS if holds else DOES_NOT_HOLD


@dataclass(frozen=True)
class Finding:
    """One result of the audit.

    Attributes:
        id: the check, a colon, and its subject; unique.
        exhibit: table1 to table5, fig1 to fig17, or a section.
        value: the printed number or words in question, if one.
        n: the test-set size tried (attainability), else None.
    """

    id: str
    kind: Kind
    exhibit: str
    value: float | str | None
    n: int | None
    verdict: Verdict
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return asdict(self)
