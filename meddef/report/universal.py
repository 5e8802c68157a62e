"""Universal perturbations: share of predictions changed, by ε.

from meddef.report import universal
universal.table(report)
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from meddef.records import Record
from meddef.report.defenses import rate_cell
from meddef.report.display import Table, budget, seeds_note
from meddef.report.labels import short_label
from meddef.report.rates import MeanRate, mean_interval
from meddef.report.report import Report

CONTROL = "random signs"
PRINTED = (
    "Hirano et al. 2021 (https://doi.org/10.1186/s12880-020-00530-y) report more than 80 % for almost imperceptible "
    "ones, on other networks, images and perturbation sizes."
)


class Place(NamedTuple):
    """One model, way of making the perturbation, and size."""

    dataset: str
    variant: str
    training: str
    method: str
    eps: float


def rates(report: Report) -> dict[Place, dict[str, MeanRate]]:
    """Of held-out images, in percent, mean over seeds: "fooled" (changed predictions, correct or not), "robust" and
    "clean" accuracy."""
    by_place: dict[Place, dict[int, Record]] = {}
    for record in report.of("universal"):
        place = Place(*(record[name] for name in Place._fields))
        by_place.setdefault(place, {})[record["seed"]] = record
    found = {}
    for place, records in sorted(by_place.items()):
        fooling = {seed: _changes(record) for seed, record in records.items()}
        given = {
            "fooled": mean_interval(fooling, "asr"),
            "robust": mean_interval(records, "robust"),
            "clean": mean_interval(records, "clean"),
        }
        found[place] = {name: rate for name, rate in given.items() if rate is not None}
    return found


def table(report: Report) -> Table:
    """Fooling rate and accuracy of each model under the perturbation at each ε, random signs of that size beside."""
    found = rates(report)
    rows, seeds = [], []
    for place, ours in found.items():
        if place.method == CONTROL:
            continue
        control = found.get(place._replace(method=CONTROL), {})
        seeds.append(len(ours["fooled"].by_seed))
        label = {dataset.name: dataset.label for dataset in report.datasets}[place.dataset]
        rows.append({
            "dataset": label,
            "model": short_label(place.variant, place.training),
            "ε": budget(place.eps),
            "fooled": rate_cell(ours.get("fooled")),
            "by random signs": rate_cell(control.get("fooled")),
            "accuracy": rate_cell(ours.get("robust")),
            "without": rate_cell(ours.get("clean")),
            "n": f"{ours['fooled'].n:.0f}",
        })  # fmt: skip
    caption = (
        "Universal perturbation, computed on training images without their labels: share of test images, in percent, "
        "whose prediction it changes (fooled), compared with random signs of the same size, and accuracy with and "
        "without it. A perturbation that drives all predictions to one class fools the images predicted otherwise: "
        f"with two classes at most the share of the larger. {PRINTED}{seeds_note(seeds)}"
    )
    return Table(pd.DataFrame(rows), caption, header=3)


def _changes(record: Record) -> Record:
    """A record in which the label is the clean prediction."""
    same, n = zip(record["before"], record["after"], strict=True), record["n"]
    return {**record, "labels": "0" * n, "before": "0" * n, "after": "".join("01"[b != a] for b, a in same)}
