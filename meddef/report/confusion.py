"""Confusion matrices from records, and what follows from them class by class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.balanced import balanced_accuracy, constant_classifier
from meddef.report.display import DASH, Table, percent, seeds_note
from meddef.report.labels import attack_name, ordered_attacks, short_label
from meddef.report.report import Dataset, Report, by_model
from meddef.statistics import Proportion, mean_over_seeds

Matrices = dict[tuple[str, str], dict[str, np.ndarray]]


def matrix(record: Record, which: str = "after") -> np.ndarray:
    """Counts (K, K), int64: true class by row, class predicted "before" or "after" the attack by column."""
    size = len(record["classes"])
    counts = np.zeros((size, size), dtype=np.int64)
    for true, predicted in zip(record["labels"], record[which], strict=True):
        counts[int(true, 36), int(predicted, 36)] += 1
    return counts


def matrices(report: Report, dataset: Dataset, eps: float) -> Matrices:
    """Model -> condition -> counts: the whole test split without attack, the attacks of the epsilon grid at ``eps``.

    Counts are added up over seeds, which the condition says: "PGD, n = 3 seeds × 200".
    """
    found: Matrices = {}
    attacked = attacked_records(report, dataset, eps)
    for model, records in by_model([*clean_records(report, dataset), *attacked]).items():
        for attack in dict.fromkeys(record["attack"] for record in records):
            ours = [record for record in records if record["attack"] == attack]
            name = f"{attack_name(attack)}, n = {_sizes(ours)}"
            found.setdefault(model, {})[name] = np.sum([matrix(record) for record in ours], axis=0)
    return found


def _sizes(records: list[Record]) -> str:
    """ "200", "3 seeds × 200", or "420 of 3 seeds" where they saw unequally many."""
    sizes = {record["n"] for record in records}
    if len(sizes) > 1:
        return f"{sum(record['n'] for record in records)} of {len(records)} seeds"
    return f"{len(records)} seeds × {sizes.pop()}" if len(records) > 1 else f"{sizes.pop()}"


def clean_records(report: Report, dataset: Dataset) -> list[Record]:
    """Predictions on the whole test split without attack, one record per model and seed."""
    return [record for record in report.grid("test", dataset.name) if record["attack"] == "clean"]


def attacked_records(report: Report, dataset: Dataset, eps: float) -> list[Record]:
    """Predictions under each attack of the epsilon grid at ``eps`` (or without one), attacks in the paper's order."""
    attacked = [
        r for r in report.grid("epsilon", dataset.name) if r["attack"] != "clean" and r["eps"] in (eps, None)
    ]
    order = ordered_attacks(record["attack"] for record in attacked)
    return sorted(attacked, key=lambda record: order.index(record["attack"]))


def per_class(report: Report) -> Table:
    """Sensitivity and specificity of every class on the whole clean test split, one row per class and model."""
    caption = "Sensitivity and specificity (%) of each class on clean images, with 95 % intervals."
    return _per_class([(d, clean_records(report, d)) for d in report.datasets], caption)


def per_class_attacked(report: Report, attack: str, eps: float) -> Table:
    """``per_class`` under ``attack`` at ``eps``, on the images of the epsilon grid."""
    caption = f"The same under {attack_name(attack)}, ε = {eps:g}, on the attacked images."
    found = [
        (d, [r for r in attacked_records(report, d, eps) if r["attack"] == attack]) for d in report.datasets
    ]
    return _per_class(found, caption)


def _per_class(found: list[tuple[Dataset, list[Record]]], caption: str) -> Table:
    rows, seeds = [], []
    for dataset, of_dataset in found:
        for i, name in enumerate(dataset.classes):
            for model, records in by_model(of_dataset).items():
                seeds.append(len(records))
                counts = [matrix(record) for record in records]
                rows.append(
                    {
                        "dataset": dataset.label,
                        "class": name,
                        "model": short_label(*model),
                        "n of the class": str(counts[0][i].sum()),
                        "sensitivity": _rate([sensitivity(c, i) for c in counts]),
                        "specificity": _rate([specificity(c, i) for c in counts]),
                    }
                )
        rows += _balanced_rows(dataset, of_dataset)
    note = " Balanced accuracy is the mean of the sensitivities."
    return Table(pd.DataFrame(rows), f"{caption}{note if rows else ''}{seeds_note(seeds)}", header=3)


def _balanced_rows(dataset: Dataset, found: list[Record]) -> list[dict[str, str]]:
    """Below the classes of a dataset: balanced accuracy of every model, and of the constant classifier."""
    head = {"dataset": dataset.label, "class": "all: balanced accuracy"}
    rows = []
    for model, records in by_model(found).items():
        rates = mean_over_seeds([balanced_accuracy(record) for record in records], "rate")
        row = {"model": short_label(*model), "n of the class": str(records[0]["n"])}
        rows.append({**head, **row, "sensitivity": percent(rates, "rate"), "specificity": DASH})
    if rows:
        answer = constant_classifier(found[0])
        row = {"model": "constant classifier", "n of the class": str(found[0]["n"])}
        rows.append({**head, **row, "sensitivity": f"{100 * answer.balanced:.1f}", "specificity": DASH})
    return rows


def sensitivity(counts: np.ndarray, i: int) -> Proportion:
    """Of the images of class ``i``, the share that is taken for it; ``counts`` as ``matrix`` gives them."""
    return Proportion(int(counts[i, i]), int(counts[i].sum()))


def specificity(counts: np.ndarray, i: int) -> Proportion:
    """Of the images of other classes, the share that is not taken for class ``i``."""
    outside = int(counts.sum() - counts[i].sum())
    return Proportion(outside - int(counts[:, i].sum() - counts[i, i]), outside)


def _rate(rates: list[Proportion]) -> str:
    return percent(mean_over_seeds(rates, "rate"), "rate")


def published_entries(report: Report) -> Table:
    """The entries that the paper's text names for the full model, beside the same entries here."""
    rows, seeds = [], []
    for dataset in report.datasets:
        if dataset.twin is None:
            continue
        printed = PROTOCOL["datasets"][dataset.twin]["class_counts"]["test"]
        ours = by_model(clean_records(report, dataset)).get(("full", "adversarial"), [])
        seeds.append(len(ours))
        counts = np.mean([matrix(record) for record in ours], axis=0) if ours else None
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
    caption = "Full DAAM on clean images: the entries named in the paper's text, and ours."
    if max(seeds, default=0) > 1:
        caption += f" Our counts are means over {max(seeds)} seeds."
    return Table(pd.DataFrame(rows), caption, header=2)


def _entry(counts: np.ndarray | None, classes: list[str], true: str, predicted: str) -> str:
    if counts is None or true not in classes or predicted not in classes:
        return DASH
    row = counts[classes.index(true)]
    count, n = row[classes.index(predicted)], int(row.sum())
    shown = f"{count:.1f}".removesuffix(".0")
    return f"{shown} of {n}\n{100 * count / n:.1f} %" if n else f"{shown} of {n}"
