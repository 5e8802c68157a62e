"""The figure of a robustness report: success rate of each attack, and its growth with ε."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import VARIANT_LABELS
from meddef.records import Record
from meddef.report.labels import model_label
from meddef.report.worst_case import ENSEMBLE

ALT = (
    "Left: one row per model; one mark per attack, at its success rate. "
    "Right: success rate of the attack under test against ε, one line per model. The tables give the verdicts."
)
# Label -> its mark, the item with the count, and the count's name.
BROKEN = {
    "random noise": (".", "noise_does_little", "broken_by_noise"),
    "FGSM": (style.marker("fgsm"), "iterative_beats_single_step", "broken_by_weaker"),
    "Square": ("s", "gradient_free_does_not_win", "broken_by_weaker"),
    "transfer": ("x", "transfer_does_not_win", "broken_by_weaker"),
    "the attack under test": ("o", "worst_case_is_near", "broken_by_attack"),
    "worst case": (style.marker(ENSEMBLE), "worst_case_is_near", "broken_by_any"),
}
FILLED = ("the attack under test", "worst case")
COLOURS = ("#333333", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#767676")
KNOWN = {
    model_label(variant, training): style.model_colour(variant, training)
    for variant in VARIANT_LABELS
    for training in ("clean", "adversarial")
}


@styled
def strengths(records: list[Record]) -> SvgFigure:
    """Two panels for the models of ``records``, which share dataset and ε."""
    by_model: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in records:
        by_model.setdefault(record["model"], {})[record["name"]] = record["numbers"]
    labels = [style.wrapped(model) for model in by_model]
    lines = 1 + max(label.count("\n") for label in labels)
    figure = style.new_figure(7.4, max(0.3, 0.16 * lines) * len(by_model) + 1.7)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    drawn = []
    for row, ((model, items), colour) in enumerate(zip(by_model.items(), cycle(COLOURS), strict=False)):
        colour = KNOWN.get(model, colour)
        for name, (mark, item, count) in BROKEN.items():
            share = _share(items[item], count)
            left.plot(share, row, **_look(name, mark, colour))
            drawn.append(("left", model, name, records[0]["eps"], share))
        radii, shares = _by_radius(items)
        right.plot(radii, shares, color=colour, marker="o", markersize=3, linewidth=1.1)
        drawn += [
            ("right", model, "the attack under test", eps, share)
            for eps, share in zip(radii, shares, strict=True)
        ]
    left.set_yticks(range(len(by_model)), labels)
    left.set_ylim(len(by_model) - 0.5, -0.5)
    for tick, model, colour in zip(left.get_yticklabels(), by_model, cycle(COLOURS), strict=False):
        tick.set_color(KNOWN.get(model, colour))
    left.set_xlim(-3, 103)
    left.set_xlabel("attack success rate (%)")
    right.set_xscale("log")
    right.set_xlabel("ε of the attack under test")
    right.axvline(records[0]["eps"], color=style.PUBLISHED, linestyle=":")
    style.percent_axis(right)
    handles = [
        Line2D([], [], label=name, **_look(name, mark, "#333333")) for name, (mark, *_) in BROKEN.items()
    ]
    style.legend_below(figure, handles)
    figure.numbers = pd.DataFrame(
        drawn, columns=["panel", "model", "attack", "eps", "attack success rate (%)"]
    )
    return figure


def _look(name: str, mark: str, colour: str) -> dict[str, Any]:
    """Hollow marks for attacks that should be weaker than the one under test."""
    fill = colour if name in FILLED or mark == "." else "none"
    return {"color": colour, "marker": mark, "linestyle": "none", "markerfacecolor": fill, "markersize": 6}


def _share(numbers: Mapping[str, Any], count: str) -> float:
    """In percent; NaN where the item is N-A."""
    return 100 * numbers[count] / numbers["images"] if numbers else float("nan")


def _by_radius(items: Mapping[str, Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """The radii tried and the share broken at each, the whole of [0, 1] last."""
    numbers = items["rises_with_epsilon"]
    found = {
        float(name.removeprefix("broken_at_")): _share(numbers, name)
        for name in numbers
        if name.startswith("broken_at_")
    }
    if everything := items["everything_falls"]:
        found[1.0] = 100 - _share(everything, "count")
    return list(found), list(found.values())
