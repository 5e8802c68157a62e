"""The chart of ``meddef.report.controls``: accuracy against ε, two architectures, clean and adversarial training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.catalogue import usual_training
from meddef.figures import style
from meddef.figures.balanced import root_axis
from meddef.figures.constant import NAMES, constant_handle, constant_line
from meddef.figures.curves import Y_LABELS
from meddef.figures.drawing import SvgFigure, styled
from meddef.records import Record
from meddef.report.balanced import balanced_frame
from meddef.report.controls import ARCHITECTURES, ATTACK, MODELS, TRAININGS, has_all, plain_label
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.report import Dataset, Report
from meddef.report.strongest import quantity

GRIDS = ("epsilon", "small_epsilon")
_PLACE = ("dataset", "eps", "attack")
DASHES = {"adversarial": "-", "clean": (0, (3, 1.5))}


@styled
def two_by_two(report: Report) -> SvgFigure:
    """Accuracy and balanced accuracy by dataset (row) and attack (panel): means over seeds as lines, 95 % bands,
    the seeds as thin lines; dotted: the constant classifier."""
    shown = {d.name: points(report, d) for d in report.datasets if has_all(report, d)}
    datasets = [dataset for dataset in report.datasets if dataset.name in shown]
    if not datasets:
        return style.message("This profile does not train both architectures cleanly and adversarially.")
    attacks = sorted(
        ordered_attacks(attack for frame in shown.values() for attack in frame["attack"]),
        key=lambda attack: attack != ATTACK,
    )
    width = max(2.15, 5.0 / len(attacks))
    rows = [(dataset, rate) for dataset in datasets for rate in ("robust", "balanced")]
    figure, axes = style.grid(len(rows), len(attacks), width=width, height=2.3, sharey=True, sharex=True)
    for line, (dataset, rate) in zip(axes, rows, strict=True):
        for panel, attack in zip(line, attacks, strict=True):
            _panel(panel, shown[dataset.name].query("attack == @attack"), attack, rate)
        line[0].set_ylabel(f"{style.wrapped(dataset.label)}\n{Y_LABELS[rate]}")
    for panel in axes[-1]:
        panel.set_xlabel("ε (square-root axis)")
    style.legend_below(
        figure, _legend(several_seeds=any(frame["seed"].nunique() > 1 for frame in shown.values()))
    )
    numbers = pd.concat([frame.assign(dataset=name) for name, frame in shown.items()], ignore_index=True)
    drawn = {(name, eps, attack) for name, eps, attack in zip(*(numbers[c] for c in _PLACE), strict=True)}
    records = [
        record
        for dataset in datasets
        for record in _measured(report, dataset)
        if record["attack"] == "clean" or (dataset.name, record["eps"], record["attack"]) in drawn
    ]
    return figure.showing(report, numbers, records)


def points(report: Report, dataset: Dataset) -> pd.DataFrame:
    """Accuracy of the four models under each attack that was run at several budgets, one row per seed and epsilon.

    Columns: variant, training, seed, attack, eps, n, and as shares robust and balanced (accuracy), each with ``_low``
    and ``_high`` (95 %), constant and constant_balanced (of the constant classifier). Epsilon 0 is clean accuracy,
    possibly of more images.
    """
    everything = balanced_frame(_measured(report, dataset))
    if everything.empty:
        return everything
    clean = everything["attack"] == "clean"
    frame = everything[~clean & (everything["eps"] > 0)]
    frame = frame[frame.groupby("attack")["eps"].transform("nunique") > 1]
    model = ["variant", "training", "seed"]
    ends = [f"{rate}{end}" for rate in ("robust", "balanced") for end in ("", "_low", "_high")]
    rates = ["n", *ends, "constant", "constant_balanced"]
    lines = frame[[*model, "attack"]].drop_duplicates()
    start = lines.merge(everything.loc[clean, [*model, *rates]], on=model).assign(eps=0.0)
    columns = [*model, "attack", "eps", *rates]
    return pd.concat([start, frame])[columns].sort_values(columns[:5], ignore_index=True)


def _measured(report: Report, dataset: Dataset) -> list[Record]:
    """All measurements of ``GRIDS`` on the four models, each once."""
    found = {quantity(r): r for grid in GRIDS for r in report.grid(grid, dataset.name)}
    return [r for r in found.values() if (r["variant"], r["training"]) in MODELS]


def _panel(panel: Axes, frame: pd.DataFrame, attack: str, rate: str) -> None:
    ends = [f"{rate}_low", f"{rate}_high"]
    for variant, training in MODELS:
        ours = frame[(frame["variant"] == variant) & (frame["training"] == training)]
        colour = style.model_colour(variant, usual_training(variant))
        mean = 100 * ours.groupby("eps")[[rate, *ends]].mean()
        panel.fill_between(mean.index, mean[ends[0]], mean[ends[1]], color=colour, alpha=0.15, linewidth=0)
        panel.plot(
            mean.index,
            mean[rate],
            color=colour,
            linestyle=DASHES[training],
            marker=style.marker(attack),
            zorder=3,
        )
        if ours["seed"].nunique() > 1:
            for _, seed in ours.groupby("seed"):
                panel.plot(seed["eps"], 100 * seed[rate], color=colour, linewidth=0.5, alpha=0.7)
    attacked = frame[frame["eps"] > 0]
    constant_line(panel, attacked.assign(**{NAMES[rate]: 100 * attacked[NAMES[rate]]}), rate)
    root_axis(panel)
    style.percent_axis(panel)
    if rate == "robust":
        seeds = frame["seed"].nunique()
        sizes = " to ".join(str(size) for size in sorted(set(frame["n"])))
        panel.set_title(f"{attack_name(attack)}\nn = {sizes}, {seeds} seed{'s' * (seeds > 1)}")


def _legend(*, several_seeds: bool) -> list[Line2D]:
    """Colour: architecture; line style: training."""
    handles = [
        Line2D([], [], color=style.model_colour(v, usual_training(v)), linewidth=4, label=plain_label(v))
        for v in ARCHITECTURES
    ]
    handles += [
        Line2D([], [], color="black", linestyle=DASHES[training], label=f"{training} training")
        for training in reversed(TRAININGS)
    ]
    seed = Line2D([], [], color="black", linewidth=0.5, label="a seed")
    return [*handles, *[seed] * several_seeds, constant_handle()]
