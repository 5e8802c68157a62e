"""Confusion matrices: counts and shares of the true class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.confusion import attacked_records, clean_records, matrices
from meddef.report.report import PAPER_DATASETS, Report

PAGE = 8.75  # maximum width of a figure in inches
DARKEST = 160  # percent, beyond what occurs: black digits stay readable on every shade


@styled
def confusion(report: Report, twin: str, eps: float) -> SvgFigure:
    """Counts, true class by row, for the datasets that are or replace ``twin`` ("roct" or "chest_xray").

    One column per model, one row per condition: clean, then each attack at ``eps``. Shades and percentages are
    shares of the true class.
    """
    datasets = [dataset for dataset in report.datasets if dataset.twin == twin]
    found = {d.name: matrices(report, d, eps) for d in datasets}
    rows = [
        (dataset, condition)
        for dataset in datasets
        for condition in dict.fromkeys(c for by_model in found[dataset.name].values() for c in by_model)
    ]
    if not rows:
        return style.message(f"This profile holds no predictions for {PAPER_DATASETS[twin]}.")
    models = list(dict.fromkeys(model for by_model in found.values() for model in by_model))
    side = min(1.15 + 0.17 * max(len(dataset.classes) for dataset, _ in rows), PAGE / len(models))
    figure, axes = style.grid(len(rows), len(models), width=side, height=side + 0.15)
    drawn = []
    for number, (row, (dataset, condition)) in enumerate(zip(axes, rows, strict=True), start=1):
        for panel, model in zip(row, models, strict=True):
            counts = found[dataset.name].get(model, {}).get(condition)
            _matrix(panel, counts, dataset.classes)
            panel.tick_params(labelleft=panel is row[0], labelbottom=number == len(rows))
            if counts is not None:
                drawn += _cells(dataset.name, dataset.classes, model, condition, counts)
        row[0].set_ylabel(f"{condition.replace(', ', chr(10))}\ntrue class")
    for panel, model in zip(axes[0], models, strict=True):
        panel.set_title(style.stacked(*model), fontsize=8)
    for panel in axes[-1]:
        panel.set_xlabel("predicted class")
    figure.suptitle(", ".join(dict.fromkeys(dataset.label for dataset, _ in rows)), fontsize=10)
    records = [r for d in datasets for r in [*clean_records(report, d), *attacked_records(report, d, eps)]]
    return figure.showing(report, pd.DataFrame(drawn), records)


def _cells(
    dataset: str, classes: list[str], model: tuple[str, str], condition: str, counts: np.ndarray
) -> list[dict[str, Any]]:
    """One row per cell of one matrix."""
    variant, training = model
    head = {"dataset": dataset, "variant": variant, "training": training, "condition": condition}
    return [
        {**head, "true": classes[i], "predicted": classes[j], "count": count, "share": share}
        for ((i, j), count), share in zip(np.ndenumerate(counts), _shares(counts).flat, strict=True)
    ]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Percent of the true class, the row."""
    return 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _matrix(panel: Axes, counts: np.ndarray | None, classes: list[str]) -> None:
    panel.grid(visible=False)
    short = [name[:4] for name in classes]
    panel.set_xticks(range(len(classes)), short, rotation=45)
    panel.set_yticks(range(len(classes)), short)
    if counts is None:
        panel.set_axis_off()
        return
    shares, edges = _shares(counts), np.arange(len(classes) + 1) - 0.5
    panel.pcolormesh(edges, edges, shares, cmap="Blues", vmin=0, vmax=DARKEST)
    panel.invert_yaxis()
    panel.set_aspect("equal")
    size = 8 if len(counts) < 4 else 6.5
    for (i, j), count in np.ndenumerate(counts):
        panel.text(j, i - 0.08, f"{count}", ha="center", va="bottom", color="black", fontsize=size)
    for (i, j), share in np.ndenumerate(shares):
        panel.text(j, i + 0.08, f"{share:.0f} %", ha="center", va="top", color="black", fontsize=size - 1.5)
