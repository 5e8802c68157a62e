"""Balanced accuracy against epsilon: all models of a profile in one panel per attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meddef.figures import numbers, style
from meddef.figures.constant import constant_handle, constant_line
from meddef.figures.curves import PAGE, Y_LABELS, n_text
from meddef.figures.drawing import SvgFigure, styled
from meddef.records import Record
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.report import Dataset, Report
from meddef.report.strongest import quantity

GRIDS = ("epsilon", "small_epsilon")
TICKS = (0, 0.005, 0.02, 0.05, 0.1)


@styled
def balanced_curves(report: Report) -> SvgFigure:
    """Balanced accuracy against ε: one row per dataset, one panel per attack run at several ε, one line per model.

    Means over seeds, with their 95 % intervals as bands; the dotted line is the constant classifier. The value at
    ε = 0 is clean balanced accuracy, possibly of more images.
    """
    shown = {dataset.name: rows for dataset in report.datasets if len(rows := _rows(report, dataset))}
    datasets = [dataset for dataset in report.datasets if dataset.name in shown]
    if not datasets:
        return style.message("This profile holds no attacks at several ε.")
    attacks = [
        attack
        for attack in ordered_attacks(a for rows in shown.values() for a in rows["attack"])
        if attack != "clean"
    ]
    width = min(2.9, PAGE / len(attacks))
    figure, axes = style.grid(len(datasets), len(attacks), width=width, height=2.4, sharex=True, sharey=True)
    for line, dataset in zip(axes, datasets, strict=True):
        rows = shown[dataset.name]
        for panel, attack in zip(line, attacks, strict=True):
            _panel(panel, rows[rows["attack"].isin(["clean", attack])], attack)
        line[0].set_ylabel(f"{style.wrapped(dataset.label)}\n{Y_LABELS['balanced']}")
    for panel in axes[-1]:
        panel.set_xlabel("ε (square-root axis)")
    models = dict.fromkeys(model for dataset in datasets for model in report.models(dataset.name))
    style.legend_below(figure, [*style.model_patches(models), constant_handle()])
    everything = pd.concat(shown.values(), ignore_index=True)
    return figure.showing(report, numbers.measured(everything, "balanced"), _records(report, everything))


def _rows(report: Report, dataset: Dataset) -> pd.DataFrame:
    """Of both grids, the clean rows and those of attacks at several ε, each once."""
    frames = [frame for grid in GRIDS if len(frame := report.attacks(grid, dataset.name))]
    if not frames:
        return pd.DataFrame()
    model = ["variant", "training", "attack"]
    rows = pd.concat(frames, ignore_index=True).drop_duplicates([*model, "eps"], ignore_index=True)
    several = rows.groupby("attack")["eps"].transform("nunique") > 1
    kept = rows[several | (rows["attack"] == "clean")]
    return kept if several.any() else kept.iloc[:0]


def _records(report: Report, rows: pd.DataFrame) -> list[Record]:
    found = {quantity(record): record for grid in GRIDS for record in report.behind(grid, rows)}
    return list(found.values())


def _panel(panel: Axes, rows: pd.DataFrame, attack: str) -> None:
    attacked = rows[rows["attack"] == attack]
    for (variant, training), line in attacked.groupby(["variant", "training"], sort=False):
        start = rows[
            (rows["attack"] == "clean") & (rows["variant"] == variant) & (rows["training"] == training)
        ]
        ours = pd.concat([start, line]).sort_values("eps", kind="stable")
        colour = style.model_colour(str(variant), str(training))
        panel.fill_between(
            ours["eps"], ours["balanced_low"], ours["balanced_high"], color=colour, alpha=0.1, linewidth=0
        )
        panel.plot(ours["eps"], ours["balanced"], color=colour, marker=style.marker(attack), markersize=3.5)
    constant_line(panel, attacked, "balanced")
    root_axis(panel)
    style.percent_axis(panel)
    panel.set_title(f"{attack_name(attack)}\n{n_text(attacked)}")


def root_axis(panel: Axes) -> None:
    """A square-root axis of ε, which spreads small budgets."""
    panel.set_xscale("function", functions=(_root, np.square))
    panel.set_xlim(0, None)
    panel.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))
