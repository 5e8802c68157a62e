"""Attack records by the cells of claims: the strongest of a cell, or comparable ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from operator import eq

from meddef import catalogue
from meddef.claims.cells import Cell
from meddef.claims.model import WORST
from meddef.records import Record
from meddef.report.strongest import strength
from meddef.report.worst_case import worst_case
from meddef.statistics import FEWEST_TRAININGS

STANDARDISED = "standardised"
TOLERANCE = 0.15  # how far a run may lie from an ε in standardised units, as a share of it
Seeds = dict[int, Record]
Place = tuple[str, str, str, float, float]  # variant, training, attack, ε, pruning rate
WITHOUT_EPS = ("clean", *catalogue.WITHOUT_EPS)


class Index:
    """The attack records of one dataset. ``scale``: what a printed ε is multiplied by."""

    def __init__(self, records: Iterable[Record], scale: float = 1.0) -> None:
        self._ways: dict[Place, dict[str, Seeds]] = {}
        self._scale = scale
        for record in records:
            if record["prune_rate"] and record["prune_scope"] != "global":
                continue
            eps = 0.0 if record["attack"] in WITHOUT_EPS else float(record["eps"])
            place = (record["variant"], record["training"], record["attack"], eps, record["prune_rate"])
            way = json.dumps(record["settings"], sort_keys=True)
            seeds = self._ways.setdefault(place, {}).setdefault(way, {})
            known = seeds.setdefault(record["seed"], record)
            if record["n"] > known["n"]:
                seeds[record["seed"]] = record
        self.budgets = sorted({place[3] for place in self._ways} - {0.0})

    def budget(self, eps: float) -> float | None:
        """The ε at which a printed one was run; None where it was not."""
        if self._scale == 1.0:
            return eps
        wanted = eps * self._scale
        near = min(self.budgets, key=lambda run: abs(run - wanted), default=None)
        return None if near is None or abs(near - wanted) > TOLERANCE * wanted else near

    def _place(self, cell: Cell) -> Place | None:
        """Where the records of a cell are; None where its ε was not run."""
        eps = None if cell.attack in WITHOUT_EPS else self.budget(cell.eps)
        if eps is None and cell.attack not in WITHOUT_EPS:
            return None
        return cell.variant, cell.training, cell.attack, eps or 0.0, cell.rate

    def ways(self, cell: Cell) -> dict[str, Seeds]:
        """Settings, as text, -> seed -> record of most images."""
        place = self._place(cell)
        return self._ways.get(place, {}) if place else {}

    def strongest(self, cell: Cell) -> Seeds:
        """Seed -> record, from the strongest way in which the cell was measured; empty where it was not."""
        if cell.attack == WORST:
            return self._worst(cell)
        found = self.ways(cell)
        return max(found.values(), key=_strength, default={})

    def _worst(self, cell: Cell) -> Seeds:
        """Each image after every attack that was run at the ε of ``cell``, on the images that all saw."""
        place = self._place(cell)
        if place is None:
            return {}
        by_seed: dict[int, list[Record]] = {}
        for (variant, training, attack, eps, rate), found in self._ways.items():
            if attack in WITHOUT_EPS or (variant, training, eps, rate) != (*place[:2], *place[3:]):
                continue
            for seed, record in max(found.values(), key=_strength).items():
                by_seed.setdefault(seed, []).append(record)
        worst = {seed: worst_case(records[0], records[1:]) for seed, records in by_seed.items()}
        alike = _alike([worst]) if worst else None
        return alike[0] if alike else {}

    def paired(self, cells: Sequence[Cell]) -> list[Seeds] | None:
        """Seed -> record of each cell, the same seeds and images in all, each attack with one setting throughout.

        Of the settings that all cells of an attack have, those are taken with enough trainings for a verdict, of these
        the strongest. None where a cell, a common setting or a common seed is lacking.
        """
        by_cell = [self.ways(cell) for cell in cells]
        chosen: dict[str, str] = {}
        for attack in dict.fromkeys(cell.attack for cell in cells):
            own = [ways for cell, ways in zip(cells, by_cell, strict=True) if cell.attack == attack]
            common = set.intersection(*(set(ways) for ways in own))
            if not common:
                return None
            chosen[attack] = max(sorted(common), key=lambda way: _worth([ways[way] for ways in own]))
        seeds = [ways[chosen[cell.attack]] for cell, ways in zip(cells, by_cell, strict=True)]
        return _alike(seeds)


def _strength(seeds: Seeds) -> tuple[bool, float, int]:
    return min(strength(record) for record in seeds.values())


def _worth(found: Sequence[Seeds]) -> tuple[int, tuple[bool, float, int]]:
    shared = len(set.intersection(*(set(seeds) for seeds in found)))
    return min(shared, FEWEST_TRAININGS), min(_strength(seeds) for seeds in found)


def _alike(found: Sequence[Seeds]) -> list[Seeds] | None:
    """The seeds that all have, cut to the images that all have; None where there are none in common.

    Every grid takes the first images of the same order.
    """
    shared = sorted(set.intersection(*(set(seeds) for seeds in found)))
    if not shared:
        return None
    n = min(seeds[seed]["n"] for seeds in found for seed in shared)
    result = [{seed: cut(seeds[seed], n) for seed in shared} for seeds in found]
    images = {(record["labels"], record["data_fingerprint"]) for seeds in result for record in seeds.values()}
    return result if len(images) == 1 else None


def cut(record: Record, n: int) -> Record:
    """A record of the first ``n`` images."""
    return record if record["n"] == n else _of(record, range(n))


def of_class(record: Record, digit: str) -> Record:
    """A record of the images with one label."""
    return _of(record, [i for i, label in enumerate(record["labels"]) if label == digit])


def _of(record: Record, chosen: Sequence[int]) -> Record:
    labels, before, after = (
        "".join(record[name][i] for i in chosen) for name in ("labels", "before", "after")
    )
    triples = list(zip(labels, before, after, strict=True))
    return {
        **record, "n": len(labels), "labels": labels, "before": before, "after": after,
        "correct_before": sum(t == b for t, b, _ in triples),
        "correct_after": sum(t == a for t, _, a in triples),
        "flipped": sum(t == b != a for t, b, a in triples),
    }  # fmt: skip


def collapsed(records: Iterable[Record]) -> bool:
    """Whether a model predicts one class for all images before the attack."""
    return any(len(set(record["before"])) == 1 for record in records)


def mean_after(seeds: Seeds) -> float:
    """Robust accuracy in percent, mean over seeds."""
    shares = [sum(map(eq, r["labels"], r["after"])) / r["n"] for r in seeds.values()]
    return 100 * sum(shares) / len(shares)
