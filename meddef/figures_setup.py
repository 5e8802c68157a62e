"""Charts of what was trained on what: data, models, schedule, training. One function a figure; no torch here."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from meddef import style
from meddef.paper import PROTOCOL
from meddef.report import Dataset, Report, short_label, usual_training
from meddef.style import SvgFigure, styled

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
    return figure


def _class_bars(panel: Axes, dataset: Dataset, split: str) -> None:
    counts = [dataset.record["counts"][split][name] for name in dataset.classes]
    shares = 100 * np.array(counts) / max(sum(counts), 1)
    bars = panel.bar(dataset.classes, shares, color="#0072B2", width=0.6)
    panel.bar_label(bars, [f"{count:,}" for count in counts], padding=1, fontsize=8)
    printed = PROTOCOL["datasets"].get(dataset.twin, {}).get("class_counts", {}).get(split, {})
    if set(printed) == set(dataset.classes):
        paper = 100 * np.array([printed[name] for name in dataset.classes]) / sum(printed.values())
        panel.bar(
            dataset.classes, paper, width=0.8, facecolor="none", edgecolor=style.PUBLISHED, linewidth=1.2
        )
    panel.set_title(f"{split}, n = {sum(counts):,}")
    panel.set_ylim(0, 100)
    panel.tick_params(axis="x", labelrotation=0 if len(counts) < 4 else 20)
    panel.grid(axis="x", visible=False)


@styled
def parameter_blocks(table: pd.DataFrame) -> SvgFigure:
    """Parameters a block of each model, in millions, stacked; ``table`` as ``architecture.block_parameters`` gives it:
    one row a variant, one column a block, and the paper's total in ``published`` (M)."""
    figure = style.new_figure(7.4, 3.0)
    panel = figure.subplots()
    blocks = [name for name in table.columns if name != "published"]
    left = np.zeros(len(table))
    shades = [
        "#333333",
        "#E69F00",
        "#F0E442",
        "#0072B2",
        "#009E73",
        "#CC79A7",
        "#56B4E9",
        "#D55E00",
        "#999999",
    ]
    names = [short_label(str(v), usual_training(str(v))) for v in table.index]
    for block, shade in zip(blocks, shades, strict=False):
        values = table[block].to_numpy() / 1e6
        panel.barh(names, values, left=left, color=shade, edgecolor="white", linewidth=0.5, label=block)
        left += values
    published = table["published"].astype(float)
    panel.plot(
        published, names, "|", color="black", markersize=18, markeredgewidth=1.6, label="published total"
    )
    panel.invert_yaxis()
    panel.set_xlabel("parameters (millions)")
    panel.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


@styled
def schedule(report: Report) -> SvgFigure:
    """Epsilon and adversarial weight an epoch of the adversarially trained models; hollow: the paper's phase ends."""
    trained = [r for r in report.of("train") if r["training"] == "adversarial"]
    if not trained:
        return style.message("No model of this profile was trained adversarially.")
    figure, axes = style.grid(1, 2, width=3.7, height=2.5)
    for panel, name, label in zip(axes[0], ("epsilon", "adversarial_weight"), _SCHEDULE_LABELS, strict=True):
        for record in trained:
            epochs = [row["epoch"] * 100 / record["epochs"] for row in record["history"]]
            values = [row[name] for row in record["history"]]
            colour = style.model_colour(record["variant"], record["training"])
            panel.plot(epochs, values, marker="o", color=colour, alpha=0.7, drawstyle="steps-post")
        for x, y, quadratic in _published_schedule("eps" if name == "epsilon" else "weight"):
            share = np.linspace(0, 1, 20)
            path = y[0] + (y[1] - y[0]) * share ** (2 if quadratic else 1)
            panel.plot(x[0] + (x[1] - x[0]) * share, path, "--", color=style.PUBLISHED, zorder=1)
            style.published(panel, x, y, attack="clean")
        panel.set_xlabel(f"epoch, stretched to the paper's {PROTOCOL['training']['epochs']}")
        panel.set_ylabel(label)
        panel.set_ylim(0, None)
    handles: list[Artist] = [*style.model_patches(m for m in report.models() if m[1] != "clean")]
    handles.append(Line2D([], [], color=style.PUBLISHED, linestyle="--", label="published phases"))
    style.legend_below(figure, handles)
    return figure


_SCHEDULE_LABELS = ("ε, L∞, pixel units [0, 1]", "weight of the adversarial loss")


def _published_schedule(what: str) -> list[tuple[list[float], list[float], bool]]:
    """Epochs and values at the ends of each phase as printed, and whether it is quadratic; the last phase has no
    printed length and lasts to the end of training."""
    spans, start = [], 0
    for phase in PROTOCOL["epsilon_schedule"]["phases"]:
        end = start + phase["epochs"] if phase["epochs"] else PROTOCOL["training"]["epochs"]
        ends = phase.get(what) or [phase["eps_max"], phase["eps_max"]]
        spans.append(([start, end], list(ends), what == "eps" and phase["growth"] == "quadratic"))
        start = end
    return spans


@styled
def training_curves(report: Report) -> SvgFigure:
    """Validation accuracy an epoch, clean (solid) and under PGD (dashed): a panel a dataset, a line a seed."""
    datasets = report.datasets
    figure, axes = style.grid(1, len(datasets), width=max(3.7, 5.6 / len(datasets)), height=2.8)
    for panel, dataset in zip(axes[0], datasets, strict=True):
        for record in report.of("train", dataset.name):
            history = pd.DataFrame(record["history"])
            colour = style.model_colour(record["variant"], record["training"])
            panel.plot(history["epoch"] + 1, 100 * history["val_clean"], color=colour)
            attacked = history["val_adversarial"].astype(float)
            panel.plot(history["epoch"] + 1, 100 * attacked, "--", color=colour)
        panel.set_title(f"{dataset.label}, n = {dataset.size('val'):,}")
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.percent_axis(panel)
    axes[0][0].set_ylabel("validation accuracy (%)\nsolid: clean, dashed: PGD")
    style.legend_below(figure, style.model_patches(report.models()))
    return figure
