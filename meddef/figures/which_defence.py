"""The chart of ``meddef.report.which_defence``: worst-case accuracy of each training against clean accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.constant import constant_handle, constant_share
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.display import budget
from meddef.report.labels import attack_name
from meddef.report.report import Dataset, Report
from meddef.report.which_defence import BUDGETS, Choice, choices

NONE = "This profile holds no attacks at 4/255 or 8/255."


@styled
def plane(report: Report) -> SvgFigure:
    """One row per dataset, one panel per ε: worst-case accuracy over attacks against clean accuracy.

    One mark per training: mean over seeds with both 95 % intervals. The dotted line is the constant classifier on the
    attacked images, below which a training is worse than none.
    """
    found = {dataset.name: own for dataset in report.datasets if (own := choices(report, dataset))}
    datasets = [dataset for dataset in report.datasets if dataset.name in found]
    if not datasets:
        return style.message(NONE)
    figure, axes = style.grid(len(datasets), len(BUDGETS), width=3.2, height=2.7, sharex=True, sharey=True)
    rows: list[dict[str, Any]] = []
    for line, dataset in zip(axes, datasets, strict=True):
        for panel, eps in zip(line, BUDGETS, strict=True):
            rows += _panel(panel, dataset, [each for each in found[dataset.name] if eps in each.kept], eps)
        line[0].set_ylabel(f"{style.wrapped(dataset.label)}\nworst case (%)")
    for panel in axes[-1]:
        panel.set_xlabel("clean accuracy (%)")
    handles = [
        Line2D([], [], color=style.model_colour(*each.model), marker="o", linestyle="none", label=each.label)
        for each in {each.model: each for own in found.values() for each in own}.values()
    ]
    style.legend_below(figure, [*handles, constant_handle()])
    names = [dataset.name for dataset in datasets]
    records = [r for own in names for eps in BUDGETS for r in report.at(eps, own)] + report.grid("test")
    return figure.showing(report, pd.DataFrame(rows), records)


def _panel(panel: Axes, dataset: Dataset, found: list[Choice], eps: float) -> list[dict[str, Any]]:
    """Draws one ε; the numbers drawn."""
    rows = []
    for each in found:
        kept, clean = each.kept[eps], each.clean
        point = {"clean": clean["clean"], "robust": kept.rates["robust"]}
        for end in ("low", "high"):
            point |= {f"clean_{end}": clean[f"clean_{end}"], f"robust_{end}": kept.rates[f"robust_{end}"]}
        across, up = (
            [
                [max(point[rate] - point[f"{rate}_low"], 0.0)],
                [max(point[f"{rate}_high"] - point[rate], 0.0)],
            ]
            for rate in ("clean", "robust")
        )
        panel.errorbar(
            [point["clean"]],
            [point["robust"]],
            xerr=across,
            yerr=up,
            color=style.model_colour(*each.model),
            marker="o",
            elinewidth=0.9,
            zorder=3,
        )
        variant, training = each.model
        rows.append(
            {
                "dataset": dataset.name,
                "variant": variant,
                "training": training,
                "eps": eps,
                "n": kept.n,
                "seeds": kept.seeds,
                "attacks": " ".join(kept.attacks),
                **point,
                "constant": 100 * kept.constant.accuracy.value,
            }
        )
    if found:
        first = found[0].kept[eps]
        constant_share(panel, 100 * first.constant.accuracy.value)
        panel.set_title(f"ε = {budget(eps)}\n{', '.join(map(attack_name, first.attacks))}; n = {first.n}")
    style.percent_axis(panel)
    return rows
