"""The front page's chart: accuracy under PGD against ε, measured and printed."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.catalogue import usual_training
from meddef.figures import style
from meddef.figures.balanced import root_axis
from meddef.figures.constant import constant_line
from meddef.figures.controls import DASHES, points
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import epsilon_table
from meddef.report.balanced import constant_classifier
from meddef.report.controls import ATTACK, MODELS
from meddef.report.labels import attack_name, model_label
from meddef.report.report import Dataset, Report

WIDTH, HEIGHT = 10.2, 2.6
ALT = (
    "Accuracy under PGD against ε: ResNet18 and the full model, each trained cleanly and adversarially where "
    "available, the paper's values for the same attack, and a line at the constant classifier."
)


@styled
def front(report: Report) -> SvgFigure:
    """Accuracy under PGD against ε, both architectures with clean and adversarial training where available.

    Filled marks are measured, means over seeds, with a dash at the lowest and the highest seed; hollow ones are values
    of Table 1 or 2 for the same attack. The value at ε = 0 is clean accuracy. The dotted line is the constant
    classifier.
    """
    for dataset in report.datasets:
        frame = points(report, dataset)
        frame = frame[frame["attack"] == ATTACK] if len(frame) else frame
        if len(frame):
            return _chart(report, dataset, frame)
    return style.message("This profile holds no PGD at several ε.")


def _chart(report: Report, dataset: Dataset, frame: pd.DataFrame) -> SvgFigure:
    figure = style.new_figure(WIDTH, HEIGHT)
    panel = figure.subplots()
    models = [model for model in MODELS if len(_of(frame, *model))]
    for model in models:
        _measured(panel, _of(frame, *model), *model)
    printed = _printed(dataset, models)
    for variant, rows in printed.groupby("variant"):
        panel.plot(
            rows["eps"], rows["published"], linestyle=(0, (1, 2)), linewidth=0.8, marker=style.marker(ATTACK),
            markerfacecolor="white", color=style.model_colour(str(variant), usual_training(str(variant))), zorder=2,
        )  # fmt: skip
    records = [
        r
        for r in report.of("attack", dataset.name)
        if r["attack"] in (ATTACK, "clean") and not r["prune_rate"]
    ]
    answer = constant_classifier(next(r for r in records if r["attack"] == ATTACK))
    shares = pd.DataFrame({"attack": [ATTACK], "constant": [100 * answer.accuracy.value]})
    constant_line(panel, shares, where="right")
    root_axis(panel)
    style.percent_axis(panel, "accuracy (%)")
    panel.set_xlabel(f"ε under {attack_name(ATTACK)}, in pixel units (square-root axis)")
    figure.legend(handles=_legend(models, printed), loc="outside right center", frameon=False)
    printed = printed.assign(training=printed["variant"].map(usual_training))
    numbers = pd.concat([frame, printed], ignore_index=True).assign(dataset=dataset.name)
    return figure.showing(report, numbers, records)


def _of(frame: pd.DataFrame, variant: str, training: str) -> pd.DataFrame:
    return frame[(frame["variant"] == variant) & (frame["training"] == training)]


def _measured(panel: Axes, rows: pd.DataFrame, variant: str, training: str) -> None:
    seeds = (100 * rows["robust"]).groupby(rows["eps"])
    colour = style.model_colour(variant, usual_training(variant))
    panel.plot(
        seeds.mean().index,
        seeds.mean(),
        color=colour,
        linestyle=DASHES[training],
        marker=style.marker(ATTACK),
        zorder=3,
    )
    for end in (seeds.min(), seeds.max()):
        panel.plot(end.index, end, "_", color=colour, markersize=6, zorder=3)


def _printed(dataset: Dataset, models: list[tuple[str, str]]) -> pd.DataFrame:
    """The paper's values for these models: columns variant, eps (0: clean), attack, published (percent)."""
    shown = [variant for variant, training in models if training == usual_training(variant)]
    table = epsilon_table()
    table = table[(table["dataset"] == dataset.twin) & table["variant"].isin(shown)]
    attacked = table[table["attack"] == ATTACK]
    clean = table[table["attack"] == "clean"].drop_duplicates("variant").assign(eps=0.0)
    rows = pd.concat([clean, attacked]).rename(columns={"accuracy": "published"})
    return rows.sort_values(["variant", "eps"])[["variant", "eps", "attack", "published"]]


def _legend(models: list[tuple[str, str]], printed: pd.DataFrame) -> list[Line2D]:
    handles = []
    for variant, training in models:
        colour = style.model_colour(variant, usual_training(variant))
        label = model_label(variant, training).replace("MedDef (Full DAAM)", "full model")
        label = label if "training" in label else f"{label}, {training} training"
        handle = Line2D([], [], color=colour, marker=style.marker(ATTACK), label=label)
        handle.set_linestyle(DASHES[training])
        handles.append(handle)
    if len(printed):
        hollow = Line2D([], [], color=style.PUBLISHED, markerfacecolor="white", marker=style.marker(ATTACK))
        hollow.set_linestyle((0, (1, 2)))
        hollow.set_label("the paper's values (same colour)")
        handles.append(hollow)
    return handles
