"""The schedule of adversarial training with the measured curves under it (the paper's Fig. 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.constant import constant_handle, constant_share
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.report import Report

SCHEDULED = {
    # column of a training record's history -> label of its row
    "epsilon": "ε, L∞\n(pixel units)",
    "adversarial_weight": "weight of the\nadversarial loss",
    "step_size": "PGD step\n(pixel units)",
}
MEASURED = {
    "val_clean": "clean validation\naccuracy (%)",
    "val_adversarial": "validation accuracy\nunder PGD (%)",
}


@styled
def schedule(report: Report) -> SvgFigure:
    """ε, adversarial weight and step size by epoch, and validation accuracy under them: one column per dataset.

    Coloured: what each model was trained with, one line per seed; hollow and dashed: the paper's phases. Epochs are
    stretched to the paper's number; the label says how many were run. Dotted: the share of the largest class among the
    validation images.
    """
    datasets = [dataset for dataset in report.datasets if report.of("train", dataset.name)]
    if not datasets:
        return style.message("This profile holds no training.")
    names = [*SCHEDULED, *MEASURED]
    figure, axes = style.grid(
        len(names), len(datasets), width=max(3.7, 6.4 / len(datasets)), height=1.55, sharex=True
    )
    for column, dataset in zip(axes.T, datasets, strict=True):
        trained = report.of("train", dataset.name)
        for panel, name in zip(column, names, strict=True):
            for record in trained:
                _line(panel, record, name)
            if name in SCHEDULED:
                _paper(panel, name)
                panel.set_ylim(0, 1.08 * panel.get_ylim()[1])
            else:
                validation = dataset.record["counts"]["val"].values()
                constant_share(panel, 100 * max(validation) / sum(validation))
                style.percent_axis(panel)
        epochs = " or ".join(str(count) for count in sorted({record["epochs"] for record in trained}))
        column[0].set_title(
            f"{dataset.label}\nn = {dataset.size('train'):,} train, {dataset.size('val'):,} validation"
        )
        column[-1].set_xlabel(
            f"epoch; {epochs} run, stretched to the paper's {PROTOCOL['training']['epochs']}"
        )
    for panel, label in zip(axes[:, 0], [*SCHEDULED.values(), *MEASURED.values()], strict=True):
        panel.set_ylabel(label)
    figure.align_ylabels()
    handles: list[Artist] = [*style.model_patches(report.models())]
    handles.append(Line2D([], [], color=style.PUBLISHED, linestyle="--", label="published phases"))
    handles.append(constant_handle())
    style.legend_below(figure, handles)
    records = [record for dataset in datasets for record in report.of("train", dataset.name)]
    return figure.showing(report, pd.concat([_history(r) for r in records], ignore_index=True), records)


def _history(record: Record) -> pd.DataFrame:
    """One row per epoch: what is drawn of one training."""
    head = ("dataset", "variant", "training", "seed")
    history = pd.DataFrame(record["history"])[["epoch", *SCHEDULED, *MEASURED]]
    return history.assign(**{name: record[name] for name in head})[[*head, *history.columns]]


def _line(panel: Axes, record: Record, name: str) -> None:
    values = np.array([row[name] for row in record["history"]], dtype=float)
    if np.isnan(values).all():
        return
    scale = PROTOCOL["training"]["epochs"] / record["epochs"]
    colour = style.model_colour(record["variant"], record["training"])
    if name in MEASURED:  # known at the end of an epoch
        ends = [(row["epoch"] + 1) * scale for row in record["history"]]
        panel.plot(ends, 100 * values, marker="o", color=colour, alpha=0.8)
        return
    starts = [row["epoch"] * scale for row in record["history"]]
    panel.step([*starts, starts[-1] + scale], [*values, values[-1]], where="post", color=colour, alpha=0.7)


def _paper(panel: Axes, name: str) -> None:
    """The published phases: marks at their ends, dashes between."""
    for x, y, quadratic in _phases("weight" if name == "adversarial_weight" else "eps"):
        share = np.linspace(0, 1, 20)
        path = y[0] + (y[1] - y[0]) * share ** (2 if quadratic else 1)
        if name == "step_size":
            path, y = _step(path), list(_step(np.array(y)))
        panel.plot(x[0] + (x[1] - x[0]) * share, path, "--", color=style.PUBLISHED, zorder=1)
        style.published(panel, x, y, attack="clean")


def _step(eps: np.ndarray) -> Any:
    """The paper's step size of PGD in training at ``eps``: min(ε / divisor, cap)."""
    pgd = PROTOCOL["training"]["pgd"]
    return np.minimum(eps / pgd["step_divisor"], pgd["step_cap"])


def _phases(what: str) -> list[tuple[list[float], list[float], bool]]:
    """Epochs and values at the ends of each phase as printed, and whether it is quadratic; the last phase has no
    printed length and lasts to the end of training."""
    spans, start = [], 0
    for phase in PROTOCOL["epsilon_schedule"]["phases"]:
        end = start + phase["epochs"] if phase["epochs"] else PROTOCOL["training"]["epochs"]
        ends = phase.get(what) or [phase["eps_max"], phase["eps_max"]]
        spans.append(([start, end], list(ends), what == "eps" and phase["growth"] == "quadratic"))
        start = end
    return spans
