"""The worst case of each image over the attacks that share its ε."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import eq
from typing import Any

from meddef.records import Record
from meddef.report.strongest import model_of

ENSEMBLE = "ensemble"
DEFINITION = (
    "Ensemble (worst case): an image counts as correct only if it is correct under the ensemble and every other "
    "attack with that ε on the same model; the paper has no such column."
)


def with_worst_case(records: Iterable[Record]) -> list[Record]:
    """``records`` with each of the ensemble replaced by the worst case over it and the other attacks at its ε.

    They are attacks on the same model with the same images and bound, one record per attack. JSMA bounds another thing,
    the number of changed features, has no ε and is not among them.
    """
    found = list(records)
    bounded: dict[tuple[Any, ...], list[Record]] = {}
    for record in found:
        if record["attack"] != "clean" and record["eps"] is not None:
            bounded.setdefault(_place(record), []).append(record)
    return [
        worst_case(record, bounded[_place(record)]) if record["attack"] == ENSEMBLE else record
        for record in found
    ]


def worst_case(first: Record, others: Iterable[Record]) -> Record:
    """``first`` with, for each image, a wrong prediction after any of the attacks, its own before those of ``others``.

    The records may hold unequally many images: every grid takes the first ones of the same order, and those that all
    have are judged.

    Raises ValueError when they do not hold the same images (their labels differ).
    """
    records = [first, *others]
    n = min(record["n"] for record in records)
    labels, before = first["labels"][:n], first["before"][:n]
    if any(not record["labels"].startswith(labels) for record in records):
        raise ValueError("the records are of different images and have no joint worst case")
    answers = [record["after"][:n] for record in records]
    after = "".join(
        next((answer for answer in said if answer != label), label)
        for label, *said in zip(labels, *answers, strict=True)
    )
    return {**first, **_counted(labels, before, after)}


def _counted(labels: str, before: str, after: str) -> Record:
    """The predictions and their counts, as in a record."""
    triples = list(zip(labels, before, after, strict=True))
    return {
        "n": len(triples),
        "labels": labels,
        "before": before,
        "after": after,
        "correct_before": sum(label == b for label, b, _ in triples),
        "correct_after": sum(label == a for label, _, a in triples),
        "flipped": sum(label == b != a for label, b, a in triples),
    }


def joint(records: Sequence[Record], n: int | None = None) -> Record:
    """The worst case of each of the first ``n`` images (or all that every record has) over ``records``.

    They are attacks at one ε on one model; the result has the fields of the first, named as the attack "worst_case".

    Raises:
        ValueError: no record, fewer than ``n`` images in one, or other images in one (its labels differ).
    """
    if not records:
        raise ValueError("no attack, no worst case")
    found = worst_case(records[0], records[1:])
    if n is not None and found["n"] < n:
        raise ValueError(f"a record holds {found['n']} images, not {n}")
    cut = found["n"] if n is None else n
    few = {name: found[name][:cut] for name in ("labels", "before", "after")}
    return {**found, "attack": "worst_case", **_counted(few["labels"], few["before"], few["after"])}


def below_single(records: Sequence[Record]) -> list[float]:
    """Points by which the worst case lies below the strongest single attack, on the images that all hold.

    ``records`` are of one model at one ε; nothing comes back where the ensemble or any other is not among them.
    """
    n = min(record["n"] for record in records)
    kept = {
        record["attack"]: sum(map(eq, record["labels"][:n], record["after"][:n])) / n for record in records
    }
    worst = kept.pop(ENSEMBLE, None)
    return [] if worst is None or not kept else [100 * (min(kept.values()) - worst)]


def _place(record: Record) -> tuple[Any, ...]:
    return (*model_of(record), record["eps"])
