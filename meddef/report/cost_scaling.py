"""The book's page on full size and beyond: time, storage and limits, by formula from measured runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddef.cost_model import FORWARD, UPDATE
from meddef.image_size import area
from meddef.report import cost_measured
from meddef.report.cost_measured import cost_of_a_pass, halves, in_order, predicted
from meddef.report.cost_planned import BYTES_A_WEIGHT, IN_TRAINING, Scale, planned, scale, split_sizes
from meddef.report.display import DASH, Table
from meddef.report.report import Report
from meddef.report.wall_time import at_once, duration
from meddef.settings import Profile, load_profile

SEEDS = [0, 1, 2]
BEYOND_VARIANTS, BEYOND_DATASETS = 100, 10
AGREEMENT = 0.30  # how far a predicted time may be from the measured one
ENGINE = Path("results") / "bench" / "engine.json"
NOTHING = "No measurement is stored: run `python -m tests.bench.bench_plan`.\n"
RATE = 1000.0  # passes per second that the reader can divide by his own


def pages(reports: Sequence[Report], root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; the first report's throughput is the CPU's in the tables."""
    loads = (full_paper(), beyond())
    parts = {
        "throughput": throughput(reports),
        "full_size": time_needed(loads, reports[0]),
        "limits": limits(loads),
        "storage": storage(loads, reports[0]),
    }
    found = {name: [table] for name, table in parts.items()} | {
        "effort": [cost_measured.table(report) for report in reports]
    }
    path = root / ENGINE
    if path.is_file():
        found["engine"] = [engine(json.loads(path.read_text(encoding="utf-8")))]
    texts = {f"{name}.md": "\n\n".join(t._repr_html_() for t in tables) for name, tables in found.items()}
    fixed = {"engine.md": NOTHING, "passes.md": f"{passes_explained()}\n"}
    return fixed | {name: f"{text}\n" for name, text in texts.items()}


def passes_explained() -> str:
    """The unit of work, in a sentence."""
    return (
        "Work is counted in *passes*: one image forward and backward through the full model. A forward pass alone "
        f"counts {FORWARD:g}, an image in a training step {UPDATE:g}, a PGD step on it one."
    )


@dataclass(frozen=True)
class Load:
    """Cells, as ``planned`` gives them, each to be done ``times`` times, on images of ``pixels``."""

    name: str
    cells: pd.DataFrame
    times: int
    pixels: int
    images: int

    @property
    def scale(self) -> Scale:
        once = scale(self.cells)
        return Scale(self.times * once.total, once.chain)


def full_paper() -> Load:
    """The profile ``paper`` with three seeds."""
    profile = load_profile("paper").model_copy(update={"seeds": SEEDS})
    models = len(profile.models())
    name = f"the paper: {len(profile.datasets)} datasets × {models} models × {len(SEEDS)} seeds"
    return Load(name, planned(profile), 1, area(profile.image_size), _images(profile))


def beyond() -> Load:
    """A hundred variants on ten datasets, half of them of the size of each of the paper's two."""
    profile = load_profile("paper").model_copy(update={"seeds": [0], "variants": ["full"], "controls": []})
    copies = BEYOND_DATASETS // len(profile.datasets)
    name = f"beyond: {BEYOND_DATASETS} datasets × {BEYOND_VARIANTS} models × {len(SEEDS)} seeds"
    times = copies * BEYOND_VARIANTS * len(SEEDS)
    return Load(name, planned(profile), times, area(profile.image_size), copies * _images(profile))


def _images(profile: Profile) -> int:
    return sum(sum(split_sizes(dataset).values()) for dataset in profile.datasets)


def throughput(reports: Sequence[Report]) -> Table:
    """Passes per second of each measured run, and how well one part of it predicts another."""
    rows = []
    for report in reports:
        cells = in_order(report)
        trained = cells["section"] == "train"
        checks = {
            "half of the models": halves(cells),
            "trainings": (cells[trained], cells[~trained]),
        }
        for name, (one, other) in checks.items():
            ratios = [predicted(one, other), predicted(other, one)] if len(one) and len(other) else []
            rows.append(
                {
                    "run": report.title,
                    "device": " ".join(sorted({row["device"] for row in report.provenance})),
                    "passes per second": f"{1 / cost_of_a_pass(cells):.0f}",
                    "workers": f"{at_once(report.provenance):.1f}",
                    "calibrated on": name,
                    "predicted / measured, the rest": f"{ratios[0]:.2f}" if ratios else DASH,
                    "predicted / measured, vice versa": f"{ratios[1]:.2f}" if ratios else DASH,
                    f"within {100 * AGREEMENT:.0f} %": _agrees(ratios),
                }
            )
    caption = (
        "One worker of each stored run, and the average number at work (those of a GPU share it). The seconds per "
        "pass of one part of the run predict the time of the rest: every second model predicts the others, and "
        "trainings predict attacks. Attacks that stop at success (ensemble, JSMA) count as if every image resisted: "
        "an upper bound."
    )
    return Table(pd.DataFrame(rows), caption, header=4)


def _agrees(ratios: Sequence[float]) -> str:
    if not ratios:
        return DASH
    return "yes" if all(abs(ratio - 1) <= AGREEMENT for ratio in ratios) else "no"


def time_needed(loads: Sequence[Load], report: Report) -> Table:
    """Passes of each load, and hours at a round rate and at the measured one."""
    rate = 1 / cost_of_a_pass(in_order(report))
    pixels = max(area(dataset.record["image_size"]) for dataset in report.datasets)
    rows = []
    for load in loads:
        kind = np.where(load.cells["section"] == "train", "trainings", "attacks")
        for (dataset, part), cells in load.cells.groupby(["dataset", kind], sort=False):
            whose = f"like {dataset}" if load.times > 1 else dataset
            rows.append(_hours(load, f"{whose}, {part}", cells, rate * pixels / load.pixels))
        rows.append(_hours(load, "all", load.cells, rate * pixels / load.pixels))
    caption = (
        f"Hours of one worker at {RATE:,.0f} passes per second (scale to your own rate), and at the {rate:.0f} per "
        f"second measured here ({report.title}), scaled by the number of pixels."
    )
    return Table(pd.DataFrame(rows), caption, header=2)


def _hours(load: Load, part: str, cells: pd.DataFrame, rate: float) -> dict[str, str]:
    passes = load.times * cells["passes"].sum()
    return {
        "load": load.name,
        "part": part,
        "cells": f"{load.times * len(cells):,}",
        "million passes": f"{passes / 1e6:,.0f}",
        f"hours at {RATE:,.0f} passes/s": f"{passes / RATE / 3600:,.0f}",
        "hours on the measured CPU": f"{passes / rate / 3600:,.0f}",
    }


def limits(loads: Sequence[Load]) -> Table:
    """The longest chain of cells that must wait for each other, and what more workers still gain."""
    rows = []
    for load in loads:
        found = load.scale
        row = {
            "load": load.name,
            "longest chain, million passes": f"{found.chain / 1e6:,.0f}",
            "useful workers": f"{found.useful:,}",
        }
        for workers in (1, 8, 64, 1024):
            row[f"{workers:,}"] = f"{found.passes(workers) / RATE / 3600:,.0f} h"
        rows.append(row)
    caption = (
        f"Lower bound in hours by number of workers, of {RATE:,.0f} passes per second each. The longest chain is a "
        "training and the longest group of attacks on its model; beyond the useful number, more workers change nothing."
    )
    return Table(pd.DataFrame(rows), caption)


def storage(loads: Sequence[Load], report: Report) -> Table:
    """Bytes of each load, from the length of the stored lines and the size of the models."""
    attacks = list(report.of("attack"))
    head = np.mean([len(json.dumps(record)) - 3 * record["n"] for record in attacks])
    trained = report.of("train")
    train = np.mean([len(json.dumps({**r, "history": []})) for r in trained])
    epoch = np.mean([len(json.dumps(row)) for r in trained for row in r["history"]])
    origin = np.mean([len(json.dumps(row)) for row in report.provenance])
    weights = BYTES_A_WEIGHT * np.mean([record["parameters"] for record in trained])
    epochs = load_profile("paper").training.epochs
    rows = []
    for load in loads:
        attacked = load.cells[load.cells["section"] != "train"]
        models = load.times * (len(load.cells) - len(attacked))
        text = load.times * (head * len(attacked) + 3 * attacked["n"].sum())
        text += models * (train + epochs * epoch) + load.times * len(load.cells) * origin
        rows.append(
            {
                "load": load.name,
                "cell files": f"{load.times * len(load.cells):,}",
                "records and provenance": _bytes(text),
                "weights": _bytes(models * weights),
                "checkpoint of a running training": _bytes(IN_TRAINING * weights),
                "prepared images": _bytes(load.images * load.pixels),
            }
        )
    caption = (
        f"From the records of {report.title}: {head:.0f} bytes per attack plus 3 per image, {epoch:.0f} per epoch, "
        f"{origin:.0f} for the provenance of a cell, {_bytes(weights)} per model; the cell files in the run folder "
        "hold the text a second time. Images take one byte per pixel."
    )
    return Table(pd.DataFrame(rows), caption)


def engine(bench: dict[str, Any]) -> Table:
    """CPU time of the planning process for each cell."""
    rows = [
        {
            "each cell is": step,
            **{
                f"{row['cells']:,} cells (ms)": f"{1000 * row[step] / row['cells']:.2g}"
                for row in bench["rows"]
            },
        }
        for step in bench["rows"][0]
        if step != "cells"
    ]
    origin = bench["provenance"]
    caption = (
        f"CPU time of one process per cell; {origin['hardware']['cpu']}, commit {origin['commit'][:12]}."
    )
    return Table(pd.DataFrame(rows), caption)


def _bytes(count: Any) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def estimate(profile: Profile, passes_a_second: float, workers: int) -> Table:
    """Cells, passes and time of a profile, without its data, with ``workers`` of ``passes_a_second`` each."""
    cells = planned(profile)
    rows = [
        {
            "dataset": dataset,
            "part": section,
            "cells": f"{len(found):,}",
            "passes": f"{found['passes'].sum():,.0f}",
            "time of one worker": duration(found["passes"].sum() / passes_a_second),
        }
        for (dataset, section), found in cells.groupby(["dataset", "section"], sort=False)
    ]
    found = scale(cells)
    caption = (
        f"Profile {profile.name}: {len(cells):,} cells, {found.total:,.0f} passes. With {workers} worker(s) of "
        f"{passes_a_second:.0f} passes per second: {duration(found.passes(workers) / passes_a_second)} at least; more "
        f"than {found.useful} do not help."
    )
    return Table(pd.DataFrame(rows), caption, header=1, left=("part",))
