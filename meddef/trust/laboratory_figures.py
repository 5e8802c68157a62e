"""Figures of the chapter on the laboratory: the pattern of each defect, and the matrix of signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.laboratory.signatures import SIGNATURES, EpsilonTable, shares
from meddef.laboratory.tables import Case
from meddef.printed.published import ATTACKS, EPSILONS
from meddef.report.display import DASH, in_plain_words
from meddef.report.labels import attack_name
from meddef.report.report import PAPER_DATASETS

ACROSS = 4
MATRIX_ALT = (
    "Shares of tables that show each signature: the paper's two datasets above, the laboratory's cases below, one "
    "panel per kind of images. The table of similarities summarises it."
)
PATTERNS_ALT = (
    "Mean accuracy under each attack against ε, one panel per table: the paper's, sound attacks, and each defect. The "
    "table below says which column rises and which falls."
)


@styled
def patterns(
    images: str, tables: Mapping[str, list[EpsilonTable]], paper: Mapping[str, list[EpsilonTable]]
) -> SvgFigure:
    """Small multiples: the paper's datasets, then sound attacks and each defect on ``images``."""
    shown = {f"paper, {PAPER_DATASETS[d]}": own for d, own in paper.items()} | dict(tables)
    figure, axes = style.grid(
        ceil(len(shown) / ACROSS), ACROSS, width=1.55, height=1.5, sharex=True, sharey=True
    )
    panels = axes.ravel()
    numbers = pd.concat([_means(label, own) for label, own in shown.items()], ignore_index=True)
    for panel, label in zip(panels, shown, strict=False):
        _lines(panel, numbers[numbers["table"] == label])
        panel.set_title(in_plain_words(label), fontsize=7.5)
        if label.startswith("paper"):
            panel.set_facecolor("#f3f0f6")
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    for column in axes.T:
        lowest = [panel for panel in column if panel.axison][-1]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("ε")
    for row in axes:
        row[0].set_ylabel("accuracy (%)")
    looks = {attack_name(a): {"marker": style.marker(a), "linestyle": style.line(a)} for a in ATTACKS}
    handles = [Line2D([], [], color="#333333", label=name, **look) for name, look in looks.items()]
    style.legend_below(figure, [*handles, Line2D([], [], color=style.OTHER, label=attack_name("clean"))])
    figure.suptitle(f"The paper's tables (shaded), and the laboratory's on {images}", fontsize=9)
    figure.numbers = numbers
    return figure


def _means(label: str, tables: list[EpsilonTable]) -> pd.DataFrame:
    """Mean clean accuracy (%) of ``tables``, and under each attack at each ε."""
    clean = "clean", np.nan, float(np.mean([float(table.clean) for table in tables]))
    attacked = [
        (attack, eps, mean)
        for attack in ATTACKS
        for eps, mean in zip(
            EPSILONS, np.mean([table.column(attack) for table in tables], axis=0), strict=True
        )
    ]
    rows = [(label, len(tables), *row) for row in [clean, *attacked]]
    return pd.DataFrame(rows, columns=["table", "models", "attack", "eps", "accuracy"])


def _lines(panel: Axes, means: pd.DataFrame) -> None:
    for attack in ATTACKS:
        panel.plot(
            EPSILONS,
            means.loc[means["attack"] == attack, "accuracy"],
            color="#333333",
            marker=style.marker(attack),
            linestyle=style.line(attack),
            linewidth=1.1,
        )
    panel.axhline(means.loc[means["attack"] == "clean", "accuracy"].item(), color=style.OTHER)
    panel.set_xticks(EPSILONS, [f"{eps:g}" for eps in EPSILONS])
    style.percent_axis(panel)


@styled
def matrix(
    benches: Mapping[str, Mapping[Case, list[EpsilonTable]]],
    paper: Mapping[str, list[EpsilonTable]],
    order: Sequence[Case],
) -> SvgFigure:
    """Rows: the paper, then the cases in ``order``; columns: signatures; grey: share of tables; one panel per bench."""
    labels = [f"paper, {PAPER_DATASETS[d]}" for d in paper] + [in_plain_words(case.label) for case in order]
    figure = style.new_figure(2.7 + 2.9 * len(benches), 0.185 * len(labels) + 1.9)
    panels = figure.subplots(1, len(benches), squeeze=False)[0]
    names = [in_plain_words(signature.__name__) for signature in SIGNATURES]
    drawn = []
    for panel, (images, tables) in zip(panels, benches.items(), strict=True):
        none = np.full(len(SIGNATURES), np.nan)  # a case that was not run on these images
        values = np.array(
            [shares(own) for own in paper.values()]
            + [shares(tables[case]) if case in tables else none for case in order]
        )
        panel.imshow(values, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(values):
            ink = "white" if share > 0.5 else "black"
            text = DASH if np.isnan(share) else f"{share:.2g}"
            panel.text(column, row, text, ha="center", va="center", color=ink, fontsize=6)
            drawn.append((images, labels[row], names[column], share))
        panel.set_xticks(
            range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=7
        )
        panel.set_yticks(range(len(labels)), labels if panel is panels[0] else [], fontsize=7)
        panel.axhline(len(paper) - 0.5, color=style.OTHER)
        panel.set_title(images)
        panel.grid(visible=False)
    figure.numbers = pd.DataFrame(drawn, columns=["images", "tables", "signature", "share"])
    return figure
