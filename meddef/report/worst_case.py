"""The worst case of each image over the attacks that share its ε. No torch here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meddef.records import Record

ENSEMBLE = "ensemble"
DEFINITION = (
    "Ensemble (worst case): an image counts as right if it is right after the ensemble and after every other attack "
    "here with that ε; the paper has no such column."
)
_MODEL = ("dataset", "data_fingerprint", "grid", "variant", "training", "seed", "prune_rate", "prune_scope")


def with_worst_case(records: Iterable[Record]) -> list[Record]:
    """``records`` with each of the ensemble replaced by the worst case over it and the other attacks at its ε.

    They are attacks on the same model with the same images and bound. JSMA bounds another thing, the number of changed
    features, has no ε and is not among them.
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
    """``first`` with, for each image, the wrong answer after any of the attacks, its own before those of ``others``.

    ``others`` may go on to further images: every grid takes the first ones of the same order.

    Raises ValueError when the records do not hold the same images (their labels differ).
    """
    answers, labels, before = [first["after"]], first["labels"], first["before"]
    for other in others:
        if not other["labels"].startswith(labels):
            raise ValueError("the records hold different images and have no worst case together")
        answers.append(other["after"][: len(labels)])
    after = "".join(
        next((answer for answer in said if answer != label), label)
        for label, *said in zip(labels, *answers, strict=True)
    )
    triples = list(zip(labels, before, after, strict=True))
    return {
        **first,
        "after": after,
        "correct_after": sum(label == a for label, _, a in triples),
        "flipped": sum(label == b != a for label, b, a in triples),
    }


def _place(record: Record) -> tuple[Any, ...]:
    return (*(record[name] for name in _MODEL), record["eps"])
