"""Which results of a run may be published: those of data, and of models on which nothing of their own is missing."""

from __future__ import annotations

from dataclasses import dataclass

from meddef.evaluation.plan import Plan
from meddef.evaluation.recorded import result_of
from meddef.records import RecordStore


@dataclass(frozen=True)
class Publishable:
    """``keys`` of the cells to publish; numbers of ``whole`` models and of all ``models`` in the plan."""

    keys: tuple[str, ...]
    whole: int
    models: int


def publishable(plan: Plan, store: RecordStore) -> Publishable:
    """The finished cells of ``plan`` that use no model, or only models for which all cells of their own are finished.

    Cells between models (transfer attacks) may be missing. Another machine can continue from such an export (``meddef
    reproduce --adopt``) without the weights of these models, unless cells between them are missing.
    """
    done = {cell.key for cell in plan.cells if result_of(cell, store) is not None}
    own: dict[str, set[str]] = {cell.key: {cell.key} for cell in plan.cells if cell.kind == "train"}
    for cell in plan.cells:
        if len(cell.requires) == 1:
            own[cell.requires[0]].add(cell.key)
    whole = {key for key, cells in own.items() if cells <= done}
    keys = [
        cell.key
        for cell in plan.cells
        if cell.key in done
        and whole.issuperset(cell.requires or ([cell.key] if cell.kind == "train" else []))
    ]
    return Publishable(tuple(keys), len(whole), len(own))
