"""Interactive versions of figures: plotly's input as JSON in the page; ``book/_static/interactive.js`` draws it.

It is opened by a button, and only then the page loads plotly, from the book itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from meddef.figures import style
from meddef.figures.constant import COLOUR
from meddef.paper import epsilon_table
from meddef.report.confusion import matrix
from meddef.report.display import NOTHING
from meddef.report.labels import attack_name, is_control, ordered_attacks, short_label
from meddef.report.report import Report, at_epsilon

Json = dict[str, Any]


@dataclass(frozen=True)
class Twin:
    """One interactive chart.

    Each of ``choices`` has a label, plotly's traces and layout, and ``steps``, the positions of the slider: a step has
    a label and either a position on the x axis, whose values are read out, or a matrix of counts.
    """

    title: str
    slider: str
    choices: tuple[Json, ...]
    start: int = 0

    def __repr__(self) -> str:
        labels = [str(choice["label"]) for choice in self.choices]
        return f"{self.title}: {'; '.join(labels)}" if labels else NOTHING

    def _repr_html_(self) -> str:
        if not self.choices:
            return f"<p><em>{NOTHING}</em></p>"
        content = {"slider": self.slider, "start": self.start, "choices": self.choices}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<div class="meddef-interactive" role="group" aria-label="{escape(self.title)}">'
            f'<button type="button">Open it with a slider: {escape(self.title)}</button>'
            f'<script type="application/json">{text}</script></div>'
        )


def security_curves(report: Report, eps: float = 0.05) -> Twin:
    """Accuracy against ε, one choice per dataset and attack, one line per model; the slider sets ε."""
    choices: list[Json] = []
    frame = report.attacks("epsilon")
    for dataset in report.datasets:
        ours = frame[frame["dataset"] == dataset.name]
        start = ours[ours["attack"] == "clean"]
        for attack in dict.fromkeys(ours.loc[ours["eps"] > 0, "attack"]):
            rows = pd.concat([start, ours[ours["attack"] == attack]])
            budgets = sorted(set(rows["eps"]))
            choices.append(
                {
                    "label": f"{dataset.label}, {attack_name(str(attack))}",
                    "data": [*_lines(rows), _constant(rows), *_printed(dataset.twin, str(attack), rows)],
                    "layout": {"x": "ε (pixel units)", "y": "accuracy (%)", "range": [-3, 103]},
                    "steps": [{"label": f"{value:g}", "x": value} for value in budgets],
                }
            )
    at = [step["x"] for choice in choices[:1] for step in choice["steps"]]
    return Twin(
        "accuracy against ε", "ε", tuple(choices), at.index(eps) if eps in at else max(len(at) - 1, 0)
    )


def _lines(rows: pd.DataFrame) -> list[Json]:
    """One trace per model, with one sentence per point."""
    traces = []
    for (variant, training), line in rows.groupby(["variant", "training"], sort=False):
        line = line.sort_values("eps")
        name = short_label(str(variant), str(training))
        traces.append(
            {
                "name": name,
                "x": line["eps"].tolist(),
                "y": _short(line["robust"]),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": _short(line["robust_high"] - line["robust"]),
                    "arrayminus": _short(line["robust"] - line["robust_low"]),
                },
                "line": {"color": style.model_colour(str(variant), str(training))},
                "mode": "lines+markers",
                "text": [f"{name}: {_counts(row)}" for row in line.to_dict("records")],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _constant(rows: pd.DataFrame) -> Json:
    """The constant classifier at each ε, on the images of most models."""
    places = sorted(set(rows["eps"]))
    most = [rows[rows["eps"] == eps].groupby(["constant", "largest", "n"]).size().idxmax() for eps in places]
    return {
        "name": "constant classifier",
        "x": places,
        "y": [round(float(share), 2) for share, _, _ in most],
        "line": {"color": COLOUR, "dash": "dot", "width": 1.5},
        "mode": "lines",
        "text": [f"constant classifier {name}: {share:.1f} % correct, n = {n}" for share, name, n in most],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _counts(row: dict[Any, Any]) -> str:
    """ "62 of 100 images correct, 62.0 % [52.2, 70.9], balanced 55.1 %"; of several seeds the mean."""
    interval = f"{row['robust']:.1f} % [{row['robust_low']:.1f}, {row['robust_high']:.1f}]"
    interval += f", balanced {row['balanced']:.1f} %"
    if row["seeds"] > 1 or not str(row["n"]).isdigit():
        return f"{interval}, mean of {row['seeds']} seeds, n = {row['n']}"
    return f"{round(row['robust'] * int(row['n']) / 100)} of {row['n']} images correct, {interval}"


def _printed(twin: str | None, attack: str, rows: pd.DataFrame) -> list[Json]:
    """The paper's values for the models in ``rows``, hollow, one trace per model."""
    table = epsilon_table()
    table = table[(table["dataset"] == twin) & (table["attack"] == attack)]
    traces = []
    for variant, training in dict.fromkeys(zip(rows["variant"], rows["training"], strict=True)):
        line = table[table["variant"] == variant]
        if is_control(variant, training) or line.empty:
            continue
        name = short_label(variant, training)
        traces.append(
            {
                "name": f"{name}, published",
                "x": line["eps"].tolist(),
                "y": line["accuracy"].tolist(),
                "mode": "markers",
                "showlegend": False,
                "marker": {
                    "symbol": "circle-open",
                    "color": style.model_colour(variant, training),
                    "size": 9,
                },
                "text": [f"{name}: the paper prints {value} %" for value in line["printed"]],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def pruned_confusion(report: Report, eps: float) -> Twin:
    """Confusion matrix against the pruned share: one choice per dataset, model and attack, at ``eps``."""
    choices: list[Json] = []
    frame = at_epsilon(report.attacks("pruning"), eps)
    records: dict[tuple[Any, ...], list[Json]] = {}
    for record in report.behind("pruning", frame):
        place = tuple(record[name] for name in ("dataset", "variant", "training", "attack"))
        records.setdefault(place, []).append(record)
    for dataset in report.datasets:
        places = [place for place in records if place[0] == dataset.name]
        order = ordered_attacks(attack for *_, attack in places)
        models = report.models(dataset.name)
        for place in sorted(places, key=lambda p: (models.index((p[1], p[2])), order.index(p[3]))):
            _, variant, training, attack = place
            choices.append(
                {
                    "label": f"{dataset.label}, {short_label(variant, training)}, {attack_name(attack)}",
                    "classes": dataset.classes,
                    "layout": {"x": "predicted class", "y": "true class"},
                    "steps": _matrices(records[place]),
                }
            )
    return Twin(f"confusion matrix against pruning, ε = {eps:g}", "pruned share (%)", tuple(choices))


def _matrices(records: Iterable[Json]) -> list[Json]:
    """One step per pruning rate, in order, with counts summed over seeds."""
    found: dict[float, np.ndarray] = {}
    for record in records:
        rate = record["prune_rate"]
        found[rate] = found.get(rate, 0) + matrix(record)
    return [{"label": f"{100 * rate:.0f}", "counts": found[rate].tolist()} for rate in sorted(found)]


def _short(values: pd.Series) -> list[float]:
    return [round(value, 2) for value in values.tolist()]
