"""Confusion matrices from records, and what follows from them class by class. No torch here."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meddef.display import DASH, Table
from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report import Dataset, Report, attack_name, ordered_attacks, short_label
from meddef.statistics import Proportion

Matrices = dict[tuple[str, str], dict[str, np.ndarray]]


def matrix(record: Record, which: str = "after") -> np.ndarray:
    """Counts (K, K), int64: true class by row, class predicted "before" or "after" the attack by column."""
    size = len(record["classes"])
    counts = np.zeros((size, size), dtype=np.int64)
    for true, predicted in zip(record["labels"], record[which], strict=True):
        counts[int(true, 36), int(predicted, 36)] += 1
    return counts


def matrices(report: Report, dataset: Dataset, eps: float) -> Matrices:
    """Model -> condition -> counts: the whole test split without attack, and the epsilon grid at ``eps``."""
    found: Matrices = {}
    attacked = [
        r for r in report.grid("epsilon", dataset.name) if r["attack"] != "clean" and r["eps"] in (eps, None)
    ]
    order = ordered_attacks(record["attack"] for record in attacked)
    attacked.sort(key=lambda record: order.index(record["attack"]))
    for record in [*clean_records(report, dataset), *attacked]:
        model = found.setdefault((record["variant"], record["training"]), {})
        name = f"{attack_name(record['attack'])}, n = {record['n']}"
        counts = matrix(record)
        model[name] = model[name] + counts if name in model else counts
    return found


def clean_records(report: Report, dataset: Dataset) -> list[Record]:
    """Predictions on the whole test split without attack, a record a model and seed."""
    return [record for record in report.grid("test", dataset.name) if record["attack"] == "clean"]


def per_class(report: Report) -> Table:
    """Sensitivity and specificity of every class on the whole clean test split."""
    rows = []
    for dataset in report.datasets:
        for i, name in enumerate(dataset.classes):
            for record in clean_records(report, dataset):
                counts = matrix(record)
                inside, outside = counts[i].sum(), counts.sum() - counts[i].sum()
                wrongly = counts[:, i].sum() - counts[i, i]
                rows.append(
                    {
                        "dataset": dataset.label,
                        "class": name,
                        "model": short_label(record["variant"], record["training"]),
                        "n of the class": str(inside),
                        "sensitivity": _rate(int(counts[i, i]), int(inside)),
                        "specificity": _rate(int(outside - wrongly), int(outside)),
                    }
                )
    caption = "Sensitivity and specificity (%) of each class without attack, with 95 % intervals."
    return Table(pd.DataFrame(rows), caption, header=3)


def _rate(hits: int, n: int) -> str:
    if n == 0:
        return DASH
    rate = Proportion(hits, n)
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f}\n[{low:.1f}, {high:.1f}]"


def published_entries(report: Report) -> Table:
    """The entries that the paper's text names for the full model, beside the same entries here."""
    rows = []
    for dataset in report.datasets:
        if dataset.twin is None:
            continue
        printed = PROTOCOL["datasets"][dataset.twin]["class_counts"]["test"]
        ours = [matrix(r) for r in clean_records(report, dataset) if r["variant"] == "full"]
        counts = np.sum(ours, axis=0) if ours else None
        for entry in PROTOCOL["confusion"][dataset.twin]["named_entries"]:
            true, predicted, count = entry["actual"], entry["predicted"], entry["count"]
            rows.append(
                {
                    "dataset": dataset.label,
                    "true class": true,
                    "predicted": predicted,
                    "the paper": f"{count} of {printed[true]}\n{100 * count / printed[true]:.1f} %",
                    "here": _entry(counts, dataset.classes, true, predicted),
                }
            )
    caption = "Full DAAM without attack: the entries named in the paper's text, and ours."
    return Table(pd.DataFrame(rows), caption, header=2)


def _entry(counts: np.ndarray | None, classes: list[str], true: str, predicted: str) -> str:
    if counts is None or true not in classes or predicted not in classes:
        return DASH
    row = counts[classes.index(true)]
    count, n = row[classes.index(predicted)], row.sum()
    return f"{count} of {n}\n{100 * count / n:.1f} %" if n else f"{count} of {n}"
