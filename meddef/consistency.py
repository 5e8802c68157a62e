"""What a record says twice must agree: counts with the predictions on the same line, lengths with each other.

Nothing here needs to know how a record came about, so that records are checked wherever they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import eq, ne
from typing import Any

CLASS_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""How records write a class, one character per image: 0 to 9, then a to z."""
PER_IMAGE = ("labels", "before", "after", "certified", "radius", "images")


def fault_of(record: Any) -> str | None:
    """What contradicts the rest of ``record``, in words; None where nothing does.

    >>> fault_of({"kind": "attack", "n": 3, "labels": "01", "before": "00", "after": "01", "classes": ["a", "b"]})
    'n is 3, and labels are of 2 images'
    """
    if not isinstance(record, Mapping) or not isinstance(record.get("kind"), str):
        return "it is no record"
    try:
        for check in (_lengths, _counts, _history):
            for words in check(record):
                return words
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        return f"it has another form than records of its kind ({type(error).__name__})"
    return None


def _lengths(record: Mapping[str, Any]) -> Iterator[str]:
    if "n" not in record:
        return
    parts = [(name, record[name]) for name in PER_IMAGE if name in record]
    for look in (*record.get("points", ()), *([record["best"]] if "best" in record else ())):
        parts += [(f"{name} of a look", look[name]) for name in ("before", "after")]
    for name, part in parts:
        if len(part) != record["n"]:
            yield f"n is {record['n']}, and {name} are of {len(part)} images"


def _counts(record: Mapping[str, Any]) -> Iterator[str]:
    if not {"labels", "before", "after"} <= record.keys():
        return
    labels, before, after = (record[name] for name in ("labels", "before", "after"))
    if strange := {*labels, *before, *after} - {*CLASS_CHARACTERS[: len(record["classes"])]}:
        yield f"it holds the class {min(strange)}, and there are {len(record['classes'])} classes"
    right, kept = [*map(eq, labels, before)], [*map(eq, labels, after)]
    flipped = sum(was and not now for was, now in zip(right, kept, strict=True))
    counts = {"correct_before": sum(right), "correct_after": sum(kept), "flipped": flipped}
    if "fooled" in record:
        counts["fooled"] = sum(map(ne, before, after))
    for name, count in counts.items():
        if record[name] != count:
            yield f"{name} is {record[name]}, and the predictions beside it make {count}"


def _history(record: Mapping[str, Any]) -> Iterator[str]:
    if "history" not in record:
        return
    epochs = [row["epoch"] for row in record["history"]]
    if epochs != [*range(record["epochs"])]:
        yield f"epochs is {record['epochs']}, and its history has {len(epochs)}"
    if record["best_epoch"] not in epochs:
        yield f"best_epoch is {record['best_epoch']}, of which its history says nothing"
