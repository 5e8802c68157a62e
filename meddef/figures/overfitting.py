"""Validation and test accuracy over the epochs of a long training."""

from __future__ import annotations

from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report import curve
from meddef.report.labels import short_label
from meddef.report.report import Report

LINES = {"clean": ("--", "test accuracy, clean"), "robust": ("-", "test accuracy under PGD")}


@styled
def over_epochs(report: Report) -> SvgFigure:
    """One panel per long training: test accuracy with and without PGD by epoch, validation accuracy under PGD in grey,
    and a line at the best epoch."""
    records = report.of("curve")
    if not records:
        return style.message(curve.NONE)
    numbers = curve.points(report)
    figure, axes = style.grid(1, len(records), width=max(3.4, 6.8 / len(records)), height=2.6, sharey=True)
    for panel, record in zip(axes.flat, records, strict=True):
        own = numbers[
            (numbers.variant == record["variant"])
            & (numbers.seed == record["seed"])
            & (numbers.dataset == record["dataset"])
        ]
        colour = style.model_colour(record["variant"], record["training"])
        history = record["history"]
        panel.plot(
            [row["epoch"] + 1 for row in history],
            [100 * row["val_adversarial"] for row in history],
            color="#999999",
            linewidth=0.8,
        )
        for name, (line, _) in LINES.items():
            panel.plot(own["epochs"], own[name], line, color=colour, marker="o", markersize=3)
        panel.axvline(record["best_epoch"] + 1, color="#555555", linewidth=0.8, linestyle=":")
        panel.set_title(
            f"{short_label(record['variant'], record['training'])}\nseed {record['seed']}, n = {record['n']}"
        )
        panel.set_xlabel("epoch")
        style.percent_axis(panel)
    axes.flat[0].set_ylabel("accuracy (%)")
    handles = [Line2D([], [], color="black", linestyle=line, label=label) for line, label in LINES.values()]
    handles += [
        Line2D(
            [], [], color="#999999", linewidth=0.8, label="validation accuracy under the training's own PGD"
        ),
        Line2D([], [], color="#555555", linewidth=0.8, linestyle=":", label="best epoch"),
    ]
    style.legend_below(figure, handles)
    return figure.showing(report, numbers, records)
