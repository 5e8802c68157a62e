"""A verdict on every claim of the ledger, or what it would take to reach one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meddef.audit import claims_counts, claims_epsilon, claims_orderings, claims_pruning, claims_values
from meddef.audit.finding import CANNOT_BE_CHECKED, Finding
from meddef.audit.published import Published
from meddef.audit.verdicts import Result

Check = Callable[[dict[str, Any], Published], Result]

CHECKS: dict[str, Check] = {
    **claims_counts.CHECKS,
    **claims_values.CHECKS,
    **claims_orderings.CHECKS,
    **claims_epsilon.CHECKS,
    **claims_pruning.CHECKS,
}

UNCHECKED = {
    "run": "no printed number decides it; it takes a trained model",
    "figure": "it is about a picture, which the LaTeX source does not hold",
    "data": "it takes the images",
    "external": "it is about other work, which is cited",
    "setting": "it says how something was done; the paper prints nothing to compare it with",
}


def ledger(published: Published) -> Iterator[Finding]:
    """One finding for each claim, in the order of the ledger."""
    for claim in published.claims:
        if claim["needs"] == "paper":
            verdict, detail = CHECKS[claim["id"]](claim, published)
        else:
            verdict, detail = CANNOT_BE_CHECKED, f"{claim['about']}: {UNCHECKED[claim['needs']]}."
        yield Finding(
            f"claim:{claim['id']}", "claim", claim["section"], claim["quote"], None, verdict, detail
        )
