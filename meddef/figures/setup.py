"""Charts of the data: classes per split, under each split policy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.report import Dataset, Report

SPLITS = ("train", "val", "test")


@styled
def class_distribution(report: Report) -> SvgFigure:
    """Share of each class in each split: bars with counts; outlines are the paper's shares (Fig. 5)."""
    datasets = report.datasets
    figure, axes = style.grid(len(datasets), 3, width=2.45, height=1.9, sharey="row")
    for row, dataset in zip(axes, datasets, strict=True):
        for panel, split in zip(row, SPLITS, strict=True):
            _class_bars(panel, dataset, split)
        row[0].set_ylabel(f"{style.wrapped(dataset.label)}\nshare (%)")
    handles = [Patch(color="#0072B2", label="here (count on the bar)")]
    handles.append(Patch(facecolor="none", edgecolor=style.PUBLISHED, label="published"))
    style.legend_below(figure, handles)
    shown = [
        {
            "dataset": d.name, "split": split, "class": name, "images": d.record["counts"][split][name],
            "published": _printed(d, split).get(name),
        }
        for d in datasets
        for split in SPLITS
        for name in d.classes
    ]  # fmt: skip
    return figure.showing(report, pd.DataFrame(shown), [d.record for d in datasets])


def _printed(dataset: Dataset, split: str) -> dict[str, int]:
    """The paper's counts per class, where printed for this dataset or the one that it replaces."""
    return PROTOCOL["datasets"].get(dataset.twin, {}).get("class_counts", {}).get(split, {})


def _class_bars(panel: Axes, dataset: Dataset, split: str) -> None:
    counts = [dataset.record["counts"][split][name] for name in dataset.classes]
    shares = 100 * np.array(counts) / max(sum(counts), 1)
    bars = panel.bar(dataset.classes, shares, color="#0072B2", width=0.6)
    panel.bar_label(bars, [f"{count:,}" for count in counts], padding=1, fontsize=8)
    printed = _printed(dataset, split)
    if set(printed) == set(dataset.classes):
        paper = 100 * np.array([printed[name] for name in dataset.classes]) / sum(printed.values())
        panel.bar(
            dataset.classes, paper, width=0.8, facecolor="none", edgecolor=style.PUBLISHED, linewidth=1.2
        )
    panel.set_title(f"{split}, n = {sum(counts):,}")
    panel.set_ylim(0, 100)
    panel.tick_params(axis="x", labelrotation=0 if len(counts) < 4 else 20)
    panel.grid(axis="x", visible=False)


POLICIES = ("released", "paper", "patient")


@styled
def split_policies(report: Report) -> SvgFigure:
    """Class counts of training, validation and test under each split policy, with overlaps between splits.

    One row per dataset, one column per policy; under the title: patients and groups of equal images in several splits.
    """
    bench = report.bench("splits")
    names = [dataset.name for dataset in report.datasets]
    rows = [row for row in bench.records if row["dataset"] in names] if bench else []
    if bench is None or not rows:
        return style.message("Ways of splitting these images were not compared.")
    datasets = [dataset for dataset in report.datasets if any(row["dataset"] == dataset.name for row in rows)]
    figure, axes = style.grid(len(datasets), len(POLICIES), width=2.75, height=2.3, sharey="row")
    for line, dataset in zip(axes, datasets, strict=True):
        for panel, policy in zip(line, POLICIES, strict=True):
            (row,) = (r for r in rows if (r["dataset"], r["policy"]) == (dataset.name, policy))
            _policy(panel, row)
        line[0].set_ylabel(f"{style.wrapped(dataset.label)}\nimages")
    classes = list(rows[0]["counts"]["train"])
    handles = [Patch(color=shade, label=name) for name, shade in zip(classes, CLASS_SHADES, strict=False)]
    style.legend_below(figure, handles)
    drawn = [
        {
            "dataset": row["dataset"], "policy": row["policy"], "split": split, "class": name, "images": count,
            "patients": row["patients"], "patients in several splits": row["patients_in_several_splits"],
            "groups of equal images across splits": row["duplicates_across"]["exact"],
            "removed from training": row["removed_from_training"],
        }
        for row in rows
        for split in SPLITS
        for name, count in row["counts"][split].items()
    ]  # fmt: skip
    used = [
        {**row, "dataset": f"{row['dataset']} ({row['policy']})", "data_fingerprint": row["fingerprint"]}
        for row in rows
    ]
    command = "python -m tests.bench.splits --data-dir DATA"
    return figure.showing(bench, pd.DataFrame(drawn), used, command=command)


CLASS_SHADES = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#F0E442")


def _policy(panel: Axes, row: Record) -> None:
    """Bars per split, classes side by side, with their counts."""
    classes = list(row["counts"]["train"])
    width = 0.8 / len(classes)
    for i, (name, shade) in enumerate(zip(classes, CLASS_SHADES, strict=False)):
        places = np.arange(len(SPLITS)) + (i - (len(classes) - 1) / 2) * width
        counts = [row["counts"][split][name] for split in SPLITS]
        bars = panel.bar(places, counts, width=width, color=shade)
        panel.bar_label(bars, [f"{count:,}" for count in counts], padding=1, fontsize=6.5)
    panel.set_xticks(range(len(SPLITS)), SPLITS)
    across = row["duplicates_across"]["exact"]
    panel.set_title(
        f"{row['policy']}\n{row['patients_in_several_splits']:,} of {row['patients']:,} patients and\n"
        f"{across:,} groups of equal images\nin several splits",
        fontsize=8,
    )
    panel.grid(axis="x", visible=False)
    panel.margins(y=0.12)
