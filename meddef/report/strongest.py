"""Selects the record of a quantity measured by several grids, so that it has one value in the book.

A *quantity* is one model (dataset, variant, training, seed, prune rate and scope) under one attack at one ε.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from meddef.catalogue import ATTACKS
from meddef.cost_model import passes
from meddef.paper import PROTOCOL
from meddef.records import Record

_MODEL = ("dataset", "data_fingerprint", "variant", "training", "seed", "prune_rate")
_FEATURES = (
    3 * PROTOCOL["preprocessing"]["image_size"] ** 2
)  # any number that is the same for all compares effort
GRIDS_OF_EPSILON = ("epsilon", "small_epsilon")
ALONG_PRUNING = "pruning"  # the grid along whose rate all points, that without pruning too, are its own
Quantity = tuple[Any, ...]


def model_of(record: Record) -> tuple[Any, ...]:
    """What identifies the attacked model; without pruning, its scope is empty."""
    return (*(record[name] for name in _MODEL), record["prune_scope"] if record["prune_rate"] else "")


def quantity(record: Record) -> Quantity:
    """The model, the attack, its ε (None where it has none) and the norm in which that is, of an attack record."""
    return (*model_of(record), record["attack"], record["eps"], record["settings"].get("norm", "linf"))


def reaches(record: Record) -> bool:
    """Whether steps × step size carry the attack across its ball: ε from the image, 2 ε from a random start.

    True for an attack that has no step size of its own (FGSM, JSMA, APGD) and for a ball of no size.
    """
    attack = record["attack"]
    if attack not in ("pgd", "bim"):
        return True
    settings = {
        **ATTACKS[attack].defaults,
        **record["settings"],
    }
    across = 2 if attack == "pgd" and settings.get("random_start", True) else 1
    return bool(settings["steps"] * settings["step_size"] > across * record["eps"] - 1e-9)


def strength(record: Record) -> tuple[bool, float, int]:
    """Larger for the better measurement of a quantity: reach, then effort, then images.

    Effort is that of ``meddef.cost_model``: steps × restarts, queries, for the ensemble those of its members.
    """
    return reaches(record), passes(record["attack"], record["settings"], _FEATURES), record["n"]


def strongest(records: Iterable[Record]) -> list[Record]:
    """One attack record for each quantity: of the strongest, the one of the first grid by name."""
    best: dict[Quantity, Record] = {}
    for record in sorted(records, key=lambda record: record["grid"]):
        known = best.setdefault(quantity(record), record)
        if strength(record) > strength(known):
            best[quantity(record)] = record
    return list(best.values())


def shown(records: Sequence[Record], grid: str) -> list[Quantity]:
    """The quantities of a grid and what belongs to it, each once, in the order of ``records``.

    JSMA and the ensemble, which cost more, may have been run on grids of their own. What such a grid of the ensemble
    has at an ε of a grid of epsilons belongs to that one, JSMA, which has no ε, to "epsilon".
    """
    own = [record for record in records if record["grid"] == grid]
    budgets = {(record["dataset"], record["eps"]) for record in own if record["eps"]}

    def belongs(record: Record) -> bool:
        if grid in GRIDS_OF_EPSILON and record["grid"] == "jsma":
            return grid == "epsilon" and record["attack"] == "jsma"
        if grid in GRIDS_OF_EPSILON and record["grid"] == "ensemble":
            return (record["dataset"], record["eps"]) in budgets
        return False

    return list(dict.fromkeys(quantity(r) for r in records if r["grid"] == grid or belongs(r)))


def alike(records: Iterable[Record]) -> list[Record]:
    """Records to compare models by: of each attack (dataset, prune rate, ε) those of one way of measuring it.

    A way is the images and the settings; taken is the one that most models and seeds were measured in, of these the
    strongest.
    """
    conditions: dict[tuple[Any, ...], dict[str, list[Record]]] = {}
    for record in records:
        same = ("dataset", "prune_rate", "prune_scope", "attack", "eps")
        way = json.dumps([record["labels"], record["data_fingerprint"], record["settings"]], sort_keys=True)
        conditions.setdefault(tuple(record[name] for name in same), {}).setdefault(way, []).append(record)
    chosen: list[Record] = []
    for ways in conditions.values():
        candidates = [strongest(measured) for measured in ways.values()]
        best = max(candidates, key=lambda way: (len(way), strength(way[0])))
        chosen += best
    return chosen
