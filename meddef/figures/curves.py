"""Charts of attack records, one function per figure: published points (hollow, grey) beside measured ones (filled, with
95 % Wilson intervals). Data, models and training are in ``meddef.figures.setup``, pictures of images in
``meddef.figures.pictures``.

Every function takes a ``Report`` and returns a figure that shows itself as SVG. Axes in percent run from 0 to 100.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meddef.figures import numbers, style
from meddef.figures.constant import constant_handle, constant_line
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import PROTOCOL, compression_table, epsilon_table
from meddef.report.display import DASH, budget
from meddef.report.labels import is_control, ordered_attacks
from meddef.report.report import Dataset, Report, at_epsilon


@styled
def models_at(report: Report, eps: float) -> SvgFigure:
    """Accuracy of every model, clean and under each attack at ``eps``, and below it balanced accuracy; hollow: Tables 1
    and 2. The dotted line is the constant classifier."""
    frames = {d.name: beside_paper(report, d, eps) for d in report.datasets}
    datasets = [d for d in report.datasets if len(frames[d.name])]
    if not datasets:
        return style.message(f"This profile holds no attacks at ε = {eps:g}.")
    across = max(len(report.models(dataset.name)) for dataset in datasets)
    figure, axes = style.grid(2 * len(datasets), 1, width=max(7.4, 1.2 * across), height=2.4)
    attacks: list[str] = []
    panels = [(dataset, rate) for dataset in datasets for rate in ("robust", "balanced")]
    for panel, (dataset, rate) in zip(axes[:, 0], panels, strict=True):
        frame = frames[dataset.name]
        models = list(dict.fromkeys(zip(frame["variant"], frame["training"], strict=True)))
        attacks = ordered_attacks([*attacks, *frame["attack"]])
        for i, (variant, training) in enumerate(models):
            rows = frame[(frame["variant"] == variant) & (frame["training"] == training)]
            for attack, offset in zip(attacks, _offsets(len(attacks)), strict=True):
                row = rows[rows["attack"] == attack]
                if rate == "robust":
                    style.published(panel, [i + offset] * len(row), row["published"], attack=attack)
                points(panel, [i + offset] * len(row), row, rate, join=False)
        constant_line(panel, frame, rate, where="right")
        panel.set_xlim(-0.6, len(models) + 0.1)  # space for the line's label
        panel.set_xticks(range(len(models)), [style.stacked(*model, lines=3) for model in models])
        if rate == "robust":
            panel.set_title(f"{dataset.label}, ε = {budget(eps)}, {n_text(frame)}")
            panel.tick_params(labelbottom=False)
        panel.grid(axis="x", visible=False)
        style.percent_axis(panel, Y_LABELS[rate])
    style.attack_legend(figure, attacks, several_seeds=report.attacks("epsilon")["seeds"].max() > 1)
    shown = pd.concat([frames[dataset.name] for dataset in datasets], ignore_index=True)
    drawn = numbers.measured(shown, "robust").assign(published=shown["published"])
    return figure.showing(report, drawn, report.behind("epsilon", shown))


def beside_paper(report: Report, dataset: Dataset, eps: float) -> pd.DataFrame:
    """The epsilon grid at ``eps`` with the accuracy that the paper prints for it in ``published`` (percent, or NaN)."""
    frame = report.attacks("epsilon", dataset.name)
    if not (frame["eps"] == eps).any():
        return frame.iloc[:0]
    frame = at_epsilon(frame, eps)
    printed = epsilon_table().query("dataset == @dataset.twin and eps == @eps")
    known = printed.set_index(["variant", "attack"])["accuracy"].to_dict()
    cells = zip(frame["variant"], frame["training"], frame["attack"], strict=True)
    published = [
        np.nan if is_control(v, training) else known.get((v, attack), np.nan) for v, training, attack in cells
    ]
    return frame.assign(published=published)


@styled
def security_curves(report: Report, grid: str = "epsilon") -> SvgFigure:
    """Accuracy against epsilon: one row per dataset, one column per model, one line per attack; hollow: Tables 1 and 2.

    JSMA has no epsilon: its one measured value is a horizontal line with its interval as a band. The dotted line is the
    constant classifier. The grid "small_epsilon" holds other budgets, most of them smaller.
    """
    table = epsilon_table() if grid == "epsilon" else epsilon_table()[:0]
    return _small_multiples(
        report, grid, report.attacks(grid), "eps", "robust", table, "accuracy", "ε (pixel units)"
    )


@styled
def asr_against_pruning(report: Report, eps: float) -> SvgFigure:
    """Attack success rate at ``eps`` against the pruning rate: one row per dataset, one column per model.

    Hollow: Tables 3 and 4, at the epsilon of the paper's evaluation.
    """
    table = compression_table() if eps == PROTOCOL["attacks"]["pgd"]["eps"] else compression_table()[:0]
    frame = at_epsilon(report.attacks("pruning"), eps)
    frame = frame[frame["attack"] != "clean"]
    return _small_multiples(report, "pruning", frame, "prune_rate", "asr", table, "asr", "pruned share")


PAGE = 8.75  # maximum width of a figure in inches
DODGE = 0.06  # share of the axis, so that the intervals of several attacks do not hide each other
Y_LABELS = {"robust": "accuracy (%)", "asr": "attack success (%)", "balanced": "balanced accuracy (%)"}


def _small_multiples(
    report: Report,
    grid: str,
    measured: pd.DataFrame,
    x: str,
    rate: str,
    printed: pd.DataFrame,
    value: str,
    x_label: str,
) -> SvgFigure:
    datasets = [d for d in report.datasets if (measured["dataset"] == d.name).any()]
    if not datasets:
        return style.message("This profile holds no records for this figure.")
    run = set(zip(measured["variant"], measured["training"], strict=True))
    models = list(dict.fromkeys(m for d in datasets for m in report.models(d.name) if m in run))
    figure, blocks = _panels(len(datasets), len(models))
    shown: list[str] = []
    drawn = [numbers.measured(measured, rate)]
    for dataset, block in zip(datasets, blocks, strict=True):
        frame = measured[measured["dataset"] == dataset.name]
        twins = [variant for variant, training in models if not is_control(variant, training)]
        paper = printed[(printed["dataset"] == dataset.twin) & printed["variant"].isin(twins)]
        drawn.append(numbers.published(paper, dataset.name, value))
        shown = ordered_attacks([*shown, *frame["attack"]])
        dodge = dict(zip(shown, _offsets(len(shown)), strict=True))
        for number, (panel, (variant, training)) in enumerate(zip(block, models, strict=True)):
            ours = frame[(frame["variant"] == variant) & (frame["training"] == training)]
            if not is_control(variant, training):
                _published_lines(panel, paper[paper["variant"] == variant], x, value)
            for attack, rows in ours.groupby("attack"):
                if x == "prune_rate":
                    _band(panel, rows, x, rate)
                    continue
                moved = rows.assign(**{x: rows[x] + dodge[str(attack)] * DODGE * measured[x].max()})
                _line_or_band(panel, moved, x, rate)
            if rate == "robust":
                constant_line(panel, ours)
            style.percent_axis(panel)
            panel.set_title(f"{style.stacked(variant, training)}\n{n_text(ours)}")
            if number % _columns(len(models)) == 0:
                panel.set_ylabel(f"{style.wrapped(dataset.label)}\n{Y_LABELS[rate]}")
    _x_axes(blocks, measured[x].max(), x_label)
    more = [constant_handle()] if rate == "robust" else []
    style.attack_legend(figure, shown, several_seeds=measured["seeds"].max() > 1, more=more)
    return figure.showing(report, numbers.together(*drawn), report.behind(grid, measured))


def _panels(rows: int, models: int) -> tuple[SvgFigure, list[list[Axes]]]:
    """One panel per model in each of ``rows`` blocks of one line or two."""
    columns = _columns(models)
    lines = math.ceil(models / columns)
    width = max(1.5, 7.5 / columns)
    figure, axes = style.grid(rows * lines, columns, width=width, height=1.9, sharex=True, sharey=True)
    blocks = [list(block.ravel()) for block in np.split(axes, rows)]
    for block in blocks:
        for panel in block[models:]:
            panel.remove()
    return figure, [block[:models] for block in blocks]


def _columns(models: int) -> int:
    """More than six models use two lines, to fit the page."""
    return models if models <= 6 else math.ceil(models / 2)


def _x_axes(blocks: list[list[Axes]], end: float, label: str) -> None:
    """Ticks at both ends and in the middle; label and numbers under the lowest panel of each column."""
    columns = _columns(len(blocks[0]))
    lowest = {number % columns: panel for block in blocks for number, panel in enumerate(block)}
    for panel in lowest.values():
        panel.set_xlabel(label)
        panel.set_xticks([0, end / 2, end], [f"{tick:.2g}" for tick in (0, end / 2, end)])
        panel.tick_params(labelbottom=True)


def _published_lines(panel: Axes, paper: pd.DataFrame, x: str, value: str) -> None:
    for attack, rows in paper.groupby("attack"):
        if attack == "clean":
            rows = rows.iloc[:1].assign(eps=0.0)
        style.published(panel, rows[x], rows[value], attack=str(attack))


def _band(panel: Axes, rows: pd.DataFrame, x: str, rate: str) -> None:
    """A line with its intervals as a band, for one model and attack at many places."""
    row = rows.iloc[0]
    colour = style.model_colour(row["variant"], row["training"])
    panel.fill_between(
        rows[x], rows[f"{rate}_low"], rows[f"{rate}_high"], color=colour, alpha=0.15, linewidth=0
    )
    points(panel, rows[x], rows.assign(**{f"{rate}_{end}": rows[rate] for end in ("low", "high")}), rate)


def _line_or_band(panel: Axes, rows: pd.DataFrame, x: str, rate: str) -> None:
    if not rows[x].isna().any():
        points(panel, rows[x], rows, rate)
        return
    row = rows.iloc[0]
    colour = style.model_colour(row["variant"], row["training"])
    panel.axhline(row[rate], color=colour, linestyle=style.line(row["attack"]))
    panel.axhspan(row[f"{rate}_low"], row[f"{rate}_high"], color=colour, alpha=0.12, linewidth=0)


@styled
def accuracy_against_pruning(report: Report) -> SvgFigure:
    """Clean accuracy against the pruning rate, one panel per dataset, one colour per model; dotted: constant
    classifier, the accuracy of a model that pruning has collapsed to a single class."""
    shown = report.attacks("pruning").query("attack == 'clean'")
    datasets = [d for d in report.datasets if (shown["dataset"] == d.name).any()]
    if not datasets:
        return style.message("This profile holds no pruning grid.")
    figure, axes = style.grid(1, len(datasets), width=max(3.7, 5.6 / len(datasets)), height=2.6, sharey=True)
    for panel, dataset in zip(axes[0], datasets, strict=True):
        frame = shown[shown["dataset"] == dataset.name]
        for _, line in frame.groupby(["variant", "training"], sort=False):
            points(panel, line["prune_rate"], line, "clean")
        constant_line(panel, frame, "clean", where="left")
        panel.set_title(f"{dataset.label}, {n_text(frame)}")
        panel.set_xlabel("share of weights pruned")
        style.percent_axis(panel)
    axes[0][0].set_ylabel("clean accuracy (%)")
    models = dict.fromkeys(zip(shown["variant"], shown["training"], strict=True))
    style.legend_below(figure, style.model_patches(models))
    return figure.showing(report, numbers.measured(shown, "clean"), report.behind("pruning", shown))


def points(panel: Axes, x: Any, rows: pd.DataFrame, rate: str, *, join: bool = True) -> None:
    """Points of one model and attack, with their intervals, and dashes at the lowest and highest seed."""
    for _, row in rows.iloc[:1].iterrows():
        colour, attack = style.model_colour(row["variant"], row["training"]), row["attack"]
        ends = rows[f"{rate}_low"], rows[f"{rate}_high"]
        style.measured(panel, x, rows[rate], *ends, attack=attack, colour=colour, join=join)
        if (rows["seeds"] > 1).any():
            for end in ("least", "most"):
                panel.plot(x, rows[f"{rate}_{end}"], "_", color=colour, markersize=5, zorder=3)


def n_text(frame: pd.DataFrame) -> str:
    """ "n = 200", or "n = 20-200" where attacks differ, with how many seeds where there are several."""
    sizes = sorted({int(size) for text in frame["n"] for size in text.split(" to ")})
    if not sizes:
        return "not run"
    seeds = frame["seeds"].min(), frame["seeds"].max()
    several = f", {_range(*seeds)} seeds" if seeds[1] > 1 else ""
    return f"n = {_range(sizes[0], sizes[-1])}{several}"


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}{DASH}{high}"


def _offsets(count: int) -> list[float]:
    return list(np.linspace(-0.3, 0.3, count)) if count > 1 else [0.0]
