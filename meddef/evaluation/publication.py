"""Which results of a run may be published: those of data, and of models on which nothing is left to be measured."""

from __future__ import annotations

from dataclasses import dataclass

from meddef.evaluation.cell import Cell
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
    """The finished cells of ``plan`` that need no model, or a model for which all cells are finished.

    A cell that uses several models (a transfer attack) is one of the model that it needs first. Another machine can
    continue from such an export (``meddef reproduce --adopt``) without the weights of the models in it.
    """
    done = {cell.key for cell in plan.cells if result_of(cell, store) is not None}
    of_model: dict[str, list[Cell]] = {cell.key: [cell] for cell in plan.cells if cell.kind == "train"}
    alone = []
    for cell in plan.cells:
        if cell.needs is not None:
            of_model[cell.needs].append(cell)
        elif cell.kind != "train":
            alone.append(cell)
    whole = [cells for cells in of_model.values() if all(cell.key in done for cell in cells)]
    keys = [cell.key for cells in (*whole, alone) for cell in cells if cell.key in done]
    return Publishable(tuple(keys), len(whole), len(of_model))
