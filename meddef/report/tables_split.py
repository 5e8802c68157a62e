"""Runs that differ in how images were split, and in as little else as there is, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from meddef.report.display import Table, budget, percent
from meddef.report.labels import short_label
from meddef.report.report import Dataset, Report
from meddef.report.tables_constant import MODEL, with_balanced
from meddef.report.tables_setup import augmentation

Run = tuple[Dataset, Report]
ALIKE = ("epochs", "batch_size", "learning_rate", "weight_decay", "dropout", "pretrained")


def way(dataset: Dataset, report: Report) -> str:
    """All that decides a training but the split, the seed and the arithmetic: two runs of one way can be compared."""
    trained = report.of("train", dataset.name)
    settings = {
        record["training"]: [
            *(record["settings"].get(name) for name in ALIKE),
            bool(record["settings"].get("class_weights")),
            augmentation(record["settings"]),
            record["settings"]["adversarial"],
            [round(row["step_size"], 9) for row in record["history"] if row.get("step_size")],
        ]
        for record in trained
    }
    steps = dataset.preprocessing.model_dump()
    return json.dumps(
        [dataset.name, dataset.record["image_size"], steps, settings], sort_keys=True, default=str
    )


def comparable(reports: Iterable[Report]) -> list[Run]:
    """The runs that have a twin of the same way and another split."""
    runs = [
        (dataset, report)
        for report in reports
        for dataset in report.datasets
        if report.of("train", dataset.name)
    ]
    splits: dict[str, set[str]] = {}
    for dataset, report in runs:
        splits.setdefault(way(dataset, report), set()).add(dataset.split)
    return [run for run in runs if len(splits[way(*run)]) > 1]


def split_policies(reports: Iterable[Report], budgets: Iterable[float]) -> Table:
    """Clean accuracy and accuracy under PGD at each of ``budgets``, one row per model and split; empty if no two runs
    differ in their split alone (``way``)."""
    runs = comparable(reports)
    rows: list[dict[str, Any]] = []
    constants = []
    for dataset, report in runs:
        images = f"{dataset.label}{dataset.split}"
        columns = _columns(report, dataset, budgets)
        for model in report.models(dataset.name):
            cells = {
                name: _cell(ours.iloc[0]) for name, frame in columns.items() if len(ours := _of(frame, model))
            }
            rows.append({"model": short_label(*model), "images": images, **cells})
        answers = {name: _constant(frame.iloc[0]) for name, frame in columns.items() if len(frame)}
        constants.append({"model": MODEL, "images": images, **answers})
    twice = {name for name, count in Counter(row["model"] for row in rows).items() if count > 1}
    order = list(dict.fromkeys(row["model"] for row in rows))
    rows = sorted((row for row in rows if row["model"] in twice), key=lambda row: order.index(row["model"]))
    caption = (
        "Accuracy (%) of models trained with the same settings on different splits of the same images, with 95 % "
        "interval and balanced accuracy. Test images differ between splits, so models are not compared image by "
        f"image; patients in both training and test may make the task easier.{_else(runs)}"
    )
    return Table(pd.DataFrame([*rows, *constants] if rows else []), caption, header=2)


def _columns(report: Report, dataset: Dataset, budgets: Iterable[float]) -> dict[str, pd.DataFrame]:
    """Heading -> rows of ``Report.attacks``, one row per model."""
    clean = report.attacks("test", dataset.name).query("attack == 'clean'")
    found = {"no attack": clean}
    grids = [report.attacks(grid, dataset.name) for grid in ("epsilon", "small_epsilon")]
    for eps in budgets:
        for frame in grids:
            at = frame[(frame["attack"] == "pgd") & (frame["eps"] == eps)]
            if len(at):
                found.setdefault(f"PGD, ε = {budget(eps)}", at)
    return found


def _of(frame: pd.DataFrame, model: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["variant"] == model[0]) & (frame["training"] == model[1])]


def _cell(row: pd.Series) -> str:
    return f"{with_balanced(percent(row, 'robust'), row)}\nn = {row['n']}"


def _constant(row: pd.Series) -> str:
    return f"{row['constant']:.1f}\nbalanced {row['constant_balanced']:.1f}\nn = {row['n']}"


def _else(runs: list[Run]) -> str:
    """Other differences between the runs, in a sentence."""
    told = {
        dataset.split.removeprefix(", "): {
            "seeds": str(len({record["seed"] for record in report.of("train", dataset.name)})),
            "arithmetic of training": ", ".join(
                sorted(
                    {str(record["settings"].get("precision")) for record in report.of("train", dataset.name)}
                )
            ),
        }
        for dataset, report in runs
    }
    names = [
        name for name in ("seeds", "arithmetic of training") if len({t[name] for t in told.values()}) > 1
    ]
    if not names:
        return ""
    return f" The runs also differ in: {'; '.join(_told(name, told) for name in names)}."


def _told(name: str, told: Mapping[str, Mapping[str, str]]) -> str:
    return f"{name} ({', '.join(f'{split}: {each[name]}' for split, each in told.items())})"
