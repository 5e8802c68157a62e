"""What is recorded for a cell of a plan, if it is that of this cell and of the model that is recorded now."""

from __future__ import annotations

import logging

from meddef.evaluation.cell import Cell
from meddef.records import CellResult, Record, RecordStore

ASKED = (
    "variant",
    "seed",
    "grid",
    "prune_rate",
    "prune_scope",
    "attack",
    "eps",
    "probe",
    "choice",
    "attacker",
)
"""Settings of cells that their records repeat."""
DIGITS = 16
logger = logging.getLogger(__name__)


def result_of(cell: Cell, store: RecordStore) -> CellResult | None:
    """The result of ``cell``; None where there is none, or one (which is logged) of something else.

    Its records must say what the cell asks for, and a model that it names must be the one recorded now: a training
    that was repeated on another machine may have left other weights.
    """
    result = store.get(cell.key)
    if result is None:
        return None
    named = result.provenance.get("models", [])
    if any(
        None not in (there, now) and there != now
        for there, now in zip(named, models_of(cell, store), strict=False)
    ):
        logger.warning(
            "%s.json was measured on other weights than those of its model: it will be computed again",
            store.cells / cell.key,
        )
        return None
    if fault := next(filter(None, (_other(cell, record) for record in result.records)), None):
        logger.warning(
            "%s.json is of another cell (%s): it will be computed again", store.cells / cell.key, fault
        )
        return None
    return result


def models_of(cell: Cell, store: RecordStore) -> list[str | None]:
    """The start of the SHA-256 of the weights of each model that ``cell`` uses; None where none is recorded."""
    trained = [store.get(key) for key in cell.requires]
    weights = [result and result.provenance.get("weights") for result in trained]
    return [digest[:DIGITS] if digest else None for digest in weights]


def _other(cell: Cell, record: Record) -> str | None:
    """What a record says otherwise than its cell, in words."""
    asked = {name: cell.settings[name] for name in ASKED if name in cell.settings and name in record}
    if cell.kind == "transfer":
        asked.pop("variant", None)  # that of the target
    asked |= {"kind": cell.kind, "dataset": cell.dataset}
    if "images" in cell.settings and cell.needs and cell.kind != "saliency":
        asked["n"] = cell.settings["images"]
    asked["fingerprint" if cell.kind == "data" else "data_fingerprint"] = fingerprint_of(cell)
    return next(
        (f"{n} {record.get(n)}, not {value}" for n, value in asked.items() if record.get(n) != value), None
    )


def fingerprint_of(cell: Cell) -> str:
    """That of the images which the cell was planned for."""
    return str(cell.settings.get("data") or cell.settings["fingerprint"])
