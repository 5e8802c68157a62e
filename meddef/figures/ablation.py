"""Contribution of each component: paired differences with their intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.records import Record
from meddef.report.ablation import STEPS, comparisons
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.paired import Effect
from meddef.report.report import Report

CLEAR, UNCLEAR = "#D55E00", "#555555"


@styled
def paired_differences(report: Report, eps: float) -> SvgFigure:
    """Accuracy with a component minus accuracy without it, on the same images, by dataset (panel) and comparison (row).

    Bars are 95 % bootstrap intervals; coloured marks are significant after Holm's correction. n and p are at the right.
    """
    found = {d.name: comparisons(report, d, eps) for d in report.datasets}
    datasets = [dataset for dataset in report.datasets if found[dataset.name]]
    if not datasets:
        return style.message("This profile has no two models that differ in one component.")
    rows = max(len(found[dataset.name]) for dataset in datasets)
    figure, axes = style.grid(
        1, len(datasets), width=max(4.2, 7.6 / len(datasets)), height=0.6 + 0.17 * rows, sharex=True
    )
    attacks = ordered_attacks(attack for effects in found.values() for _, attack in effects)
    for panel, dataset in zip(axes[0], datasets, strict=True):
        _forest(panel, found[dataset.name])
        panel.set_title(dataset.label)
        panel.set_xlabel(f"difference of accuracies (points), ε = {eps:g}")
    handles = [
        Line2D(
            [], [], color=UNCLEAR, marker=style.marker(attack), linestyle="none", label=attack_name(attack)
        )
        for attack in attacks
    ]
    handles.append(Line2D([], [], color=CLEAR, linewidth=3, label="clear (p < 0.05, corrected)"))
    style.legend_below(figure, handles)
    drawn = [
        {
            "dataset": dataset.name, "component": step, "attack": attack, "n": effect.n, "seeds": len(effect.by_seed),
            "difference": effect.value, "low": effect.low, "high": effect.high, "p corrected": effect.p_value,
        }
        for dataset in datasets
        for (step, attack), effect in found[dataset.name].items()
    ]  # fmt: skip
    return figure.showing(report, pd.DataFrame(drawn), _records(report, eps))


def _records(report: Report, eps: float) -> list[Record]:
    compared = {variant for pair in STEPS.values() for variant in pair}
    return [
        record
        for dataset in report.datasets
        for record in report.alike("epsilon", dataset=dataset.name)
        if record["training"] == "adversarial"
        and record["variant"] in compared
        and (record["attack"] == "clean" or record["eps"] in (eps, None))
    ]


def _forest(panel: Axes, effects: dict[tuple[str, str], Effect]) -> None:
    places, names = [], []
    for i, ((step, attack), effect) in enumerate(effects.items()):
        colour = CLEAR if effect.is_clear else UNCLEAR
        panel.plot([effect.low, effect.high], [i, i], color=colour, linewidth=1.2)
        panel.plot(effect.value, i, marker=style.marker(attack), color=colour, linestyle="none")
        p = f"p = {effect.p_value:.2g}" if effect.p_value >= 0.001 else "p < 0.001"
        panel.annotate(
            f"n = {effect.n}, {p}", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=6
        )
        if step not in names:
            places.append(i)
            names.append(step)
            panel.axhline(i - 0.5, color="#dddddd", linewidth=0.8)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(places, [f"with {name}" for name in names], va="center")
    panel.set_ylim(len(effects) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
