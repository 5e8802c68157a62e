"""Universal perturbations against ε, and certificates of smoothing against the radius, as charts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.defenses import certificates, certified_right
from meddef.report.labels import short_label
from meddef.report.report import Dataset, Report
from meddef.report.universal import CONTROL, rates
from meddef.statistics import Proportion

POINTS = 41  # radii of a curve


@styled
def fooling(report: Report) -> SvgFigure:
    """Share of predictions changed by a universal perturbation against ε, one panel per dataset, one line per model,
    dotted for random signs of the same size; means over seeds, 95 % bars."""
    fooled = [(place, given["fooled"]) for place, given in rates(report).items()]
    if not fooled:
        return style.message("This profile computes no universal perturbation.")
    rows = [place._asdict() | {"fooled": r.value, "low": r.low, "high": r.high} for place, r in fooled]
    numbers = pd.DataFrame(rows)
    figure, panels = _panels(report, numbers, "fooled (%)", "ε")
    for panel, ours in panels:
        for (variant, training, method), line in ours.groupby(["variant", "training", "method"], sort=False):
            random = method == CONTROL
            panel.errorbar(
                line["eps"], line["fooled"], yerr=_bars(line, "fooled"), elinewidth=0.9,
                color=style.model_colour(variant, training), linestyle=":" if random else "-",
                marker="x" if random else "o", label=short_label(variant, training) + ", random signs" * random,
            )  # fmt: skip
    _legend(figure, [panel for panel, _ in panels])
    return figure.showing(report, numbers, report.of("universal"))


@styled
def certified(report: Report) -> SvgFigure:
    """One panel per dataset: certified accuracy against the L2 radius, one line per smoothed model and
    seed; points with 95 % bars are accuracy under the adaptive attack of that radius."""
    rows: list[dict[str, Any]] = []
    for record, attacks in certificates(report):
        name = f"{record['defense']}, {short_label(record['variant'], record['training'])}"
        common = {"dataset": record["dataset"], "model": name, "seed": record["seed"]}
        top = max([*record["radius"], *attacks])
        radii = [top * i / (POINTS - 1) for i in range(POINTS)]
        found = [("certified", r, Proportion(certified_right(record, r), record["n"])) for r in radii]
        found += [("attacked", r, Proportion(a["correct_after"], a["n"])) for r, a in attacks.items()]
        for what, radius, share in found:
            ends = dict(zip(("right", "low", "high"), (share.value, *share.interval), strict=True))
            rows.append(common | {"what": what, "radius": radius} | {k: 100 * v for k, v in ends.items()})
    if not rows:
        return style.message("This profile certifies no smoothed model.")
    numbers = pd.DataFrame(rows)
    figure, panels = _panels(report, numbers, "certified accuracy (%)", "L2 radius")
    for panel, ours in panels:
        for colour, ((model, seed), lines) in enumerate(ours.groupby(["model", "seed"], sort=False)):
            proven, attacked = (lines[lines["what"] == what] for what in ("certified", "attacked"))
            label = f"{model}, seed {seed}"
            panel.plot(proven["radius"], proven["right"], color=f"C{colour}", label=f"{label}: certified")
            if len(attacked):
                panel.errorbar(
                    attacked["radius"], attacked["right"], yerr=_bars(attacked, "right"),
                    color=f"C{colour}", marker="s", linestyle="none", label=f"{label}: under attack",
                )  # fmt: skip
    _legend(figure, [panel for panel, _ in panels])
    return figure.showing(report, numbers, report.of("defense"))


def _panels(
    report: Report, numbers: pd.DataFrame, y: str, x: str
) -> tuple[SvgFigure, list[tuple[Any, pd.DataFrame]]]:
    datasets: list[Dataset] = [d for d in report.datasets if d.name in set(numbers["dataset"])]
    figure, axes = style.grid(1, len(datasets), width=3.2, height=2.6, sharey=True)
    for panel, dataset in zip(axes[0], datasets, strict=True):
        panel.set_title(style.wrapped(dataset.label))
        panel.set_xlabel(x)
        style.percent_axis(panel)
    axes[0][0].set_ylabel(y)
    return figure, [
        (panel, numbers[numbers["dataset"] == d.name]) for panel, d in zip(axes[0], datasets, strict=True)
    ]


def _bars(frame: pd.DataFrame, value: str) -> list[pd.Series]:
    below, above = frame[value] - frame["low"], frame["high"] - frame[value]
    return [below.clip(lower=0), above.clip(lower=0)]


def _legend(figure: SvgFigure, panels: list[Any]) -> None:
    handles = {h.get_label(): h for panel in panels for h in panel.get_legend_handles_labels()[0]}
    style.legend_below(figure, list(handles.values()))
