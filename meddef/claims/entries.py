"""Reads the ledger of claims. Independent of audit and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from meddef import paper
from meddef.claims.model import Bound, Claim

INHERITED = ("check", "unjudged", "run", "by_construction", "both_datasets", "on_phantoms", "note")


def load(raw: Iterable[Mapping[str, Any]]) -> list[Claim]:
    """The ledger; a claim that repeats another and has no check is decided by the other's."""
    entries = {entry["id"]: dict(entry) for entry in raw}
    for entry in entries.values():
        twin = entries.get(entry.get("same_as", ""))
        if twin and not {"check", "unjudged", "run"} & set(entry):
            entry |= {name: twin[name] for name in INHERITED if name in twin}
    return [Claim.model_validate(entry) for entry in entries.values()]


@cache
def claims() -> tuple[Claim, ...]:
    """The paper's, in its order."""
    return tuple(load(paper.CLAIMS))


def bounds(metric: str) -> Iterator[tuple[Claim, Bound]]:
    """Every claim that bounds a rate, with the bound."""
    for claim in claims():
        for check in claim.check:
            if isinstance(check, Bound) and metric in check.metrics:
                yield claim, check
