"""Pictures of one evaluation: accuracy against ε with the least ε of the images, and a reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.display import budget
from meddef.statistics import Proportion, ReliabilityBin

BEFORE, AFTER = "#0072B2", "#D55E00"


@styled
def robustness_curve(
    curve: Sequence[tuple[float, Proportion]], fallen: Mapping[float, int], title: str
) -> SvgFigure:
    """Left, (ε, robust accuracy) with 95 % intervals, from ε = 0; right, how many images have each least ε.

    ``fallen``: 0 for the images that are wrong without an attack, inf for those that stand at every ε.
    """
    figure, axes = style.grid(1, 2, width=3.6, height=2.6)
    line, bars = axes[0]
    eps = [one for one, _ in curve]
    values, low, high = ([100 * v for v in column] for column in zip(*map(_ends, curve), strict=True))
    style.measured(line, eps, values, low, high, attack="pgd", colour=BEFORE)
    style.percent_axis(line, "robust accuracy (%)")
    line.set_xlabel("ε")
    line.set_xticks(eps, [budget(one) for one in eps], rotation=45)
    names = ["0", *(budget(one) for one in list(fallen)[1:-1]), "none"]
    bars.bar(
        range(len(names)), list(fallen.values()), color=[style.PUBLISHED, *[AFTER] * len(eps[1:]), BEFORE]
    )
    bars.set_xticks(range(len(names)), names, rotation=45)
    bars.set_xlabel("smallest ε that fools the model")
    bars.set_ylabel("images")
    bars.grid(axis="x", visible=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _ends(point: tuple[float, Proportion]) -> tuple[float, float, float]:
    return point[1].value, *point[1].interval


@styled
def reliability_diagram(
    before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin], title: str
) -> SvgFigure:
    """Accuracy against confidence, one point per bin, its area in proportion to the images; the diagonal is ideal."""
    figure, axes = style.grid(1, 1, width=3.8, height=3.4)
    panel: Any = axes[0, 0]
    panel.plot([0, 100], [0, 100], color=style.PUBLISHED, linestyle=":", zorder=1)
    for bins, colour, label in ((before, BEFORE, "without attack"), (after, AFTER, "under attack")):
        n = sum(one.n for one in bins)
        sizes = [15 + 150 * one.n / n for one in bins]
        panel.scatter(*_points(bins), s=sizes, color=colour, alpha=0.8, label=label, zorder=3)
    panel.set_xlim(-3, 103)
    panel.set_xlabel("confidence (%)")
    style.percent_axis(panel, "accuracy (%)")
    panel.legend(loc="upper left", frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _points(bins: Sequence[ReliabilityBin]) -> tuple[list[float], list[float]]:
    return [100 * one.confidence for one in bins], [100 * one.right for one in bins]
