"""Time taken by the cells of a run, beside the work estimated in the plan."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from meddef.cost_model import passes, probe_passes, saliency_passes, train_passes
from meddef.image_size import area
from meddef.records import Record
from meddef.report.display import Table
from meddef.report.labels import attack_name
from meddef.report.report import Report
from meddef.report.wall_time import duration
from meddef.settings import ProbesSettings, SaliencySettings, TrainingSettings

COUNTED = ("train", "attack", "saliency", "probe")  # kinds of records whose passes are counted
MODEL = ["dataset", "variant", "training", "seed"]
COLUMNS = [*MODEL, "section", "part", "passes", "seconds"]


def effort(report: Report) -> pd.DataFrame:
    """One row per cell of training, attack, saliency or a probe of a model.

    Columns: dataset, variant, training, seed, section (the grid of an attack, else the kind), part (the attack, or how
    the model was trained), passes (``meddef.cost_model``, of images that resist to the end), seconds (of one worker).
    """
    seconds = {row["key"]: row["seconds"] for row in report.provenance}
    data = {dataset.name: dataset.record for dataset in report.datasets}
    rows = [
        {
            **{name: record[name] for name in MODEL},
            "section": record.get("grid", record["kind"]),
            "part": _part(record),
            "passes": _passes(record, data[record["dataset"]]),
            "seconds": seconds[record["key"]],
        }
        for record in report.records
        if record["kind"] in COUNTED and "variant" in record
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _part(record: Record) -> str:
    match record["kind"]:
        case "train":
            return f"{record['training']} training"
        case "saliency":
            return "Grad-CAM"
        case "probe":
            return str(record["probe"])
    return attack_name(record["attack"])


def _passes(record: Record, data: Record) -> float:
    if record["kind"] == "train":
        n_train, n_val = (sum(data["counts"][split].values()) for split in ("train", "val"))
        known = {name: v for name, v in record["settings"].items() if name in TrainingSettings.model_fields}
        return train_passes(TrainingSettings.model_validate(known), n_train, n_val)
    if record["kind"] == "saliency":
        if "settings" not in record:  # of a run before more than the maps was measured
            return float(2 * record["n"])
        return saliency_passes(record["n"], SaliencySettings.model_validate(record["settings"]))
    features = (data.get("channels") or 3) * area(data["image_size"])
    if record["kind"] == "probe":
        rule = ProbesSettings.model_validate({record["probe"]: record["settings"]}).chosen()
        return float(record["n"] * probe_passes(record["probe"], rule[record["probe"]], features))
    return float(record["n"] * passes(record["attack"], record["settings"], features))


def cost_of_a_pass(cells: pd.DataFrame) -> float:
    """Seconds of one worker for a pass, over all ``cells`` of ``effort`` together."""
    return float(cells["seconds"].sum() / cells["passes"].sum())


def predicted(calibration: pd.DataFrame, cells: pd.DataFrame) -> float:
    """Seconds that ``cells`` should take by what a pass took in ``calibration``, over those that they did take."""
    return float(cost_of_a_pass(calibration) * cells["passes"].sum() / cells["seconds"].sum())


def halves(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells of every second model, in the order of the report, and those of the others."""
    number = cells.groupby(MODEL, sort=False).ngroup()
    return cells[number % 2 == 0], cells[number % 2 == 1]


def in_order(report: Report) -> pd.DataFrame:
    """``effort`` with the models in the paper's order, those of one dataset and variant after each other."""
    models = [tuple(record[name] for name in MODEL) for record in report.of("train")]
    cells = effort(report)
    ranks = [models.index(model) for model in cells[MODEL].itertuples(index=False, name=None)]
    return cells.assign(rank=ranks).sort_values(["dataset", "rank"], kind="stable").drop(columns="rank")


def table(report: Report) -> Table:
    """Estimate against actual: each part's share of the work and of the time, and what a thousand passes took."""
    cells = effort(report)
    groups = cells.groupby(["section", "part"], sort=False)
    found = groups.agg(cells=("seconds", "size"), passes=("passes", "sum"), seconds=("seconds", "sum"))
    found = found.sort_values("seconds", ascending=False, kind="stable")
    each = 1000 * found["seconds"] / found["passes"]
    rows = [
        {
            "section": section,
            "part": part,
            "cells": f"{row['cells']:,.0f}",
            "passes": f"{row['passes']:,.0f}",
            "estimated (% of work)": _share(row["passes"], found["passes"]),
            "actual (% of time)": _share(row["seconds"], found["seconds"]),
            "time": duration(row["seconds"]),
            "seconds for 1,000 passes": f"{each[section, part]:.1f}",
        }
        for (section, part), row in found.iterrows()
    ]
    caption = (
        f"{report.title}: {duration(found['seconds'].sum())} of one worker. A thousand passes took "
        f"{1000 * cost_of_a_pass(cells):.1f} s overall; a pass of the most expensive part took "
        f"{each.max() / each.min():.1f} times as long as one of the cheapest."
    )
    return Table(pd.DataFrame(rows), caption, header=1, left=("part",))


def _share(value: float, of: Iterable[float]) -> str:
    return f"{100 * value / sum(of):.1f}"
