"""The visual style of all figures: one colour per model, one marker and line style per attack.

The colours are those of Okabe and Ito (2008), distinguishable with all common forms of colour blindness. Measured
points are filled and carry their 95 % Wilson interval; published points are hollow and grey.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from meddef import catalogue
from meddef.figures.drawing import SvgFigure as SvgFigure
from meddef.figures.drawing import styled as styled
from meddef.report.labels import attack_name, is_control, short_label

RIVAL_COLOURS = {"madry": "#0072B2", "fast": "#E69F00", "trades": "#009E73"}  # whatever the model
PUBLISHED = "#767676"
OTHER = catalogue.OTHER
_PLAIN = catalogue.Attack("", "", "")  # style of an attack without a row


def new_figure(width: float, height: float) -> SvgFigure:
    """An empty figure of ``width`` x ``height`` inches that lays itself out."""
    return SvgFigure(figsize=(width, height), layout="constrained")


def grid(rows: int, columns: int, *, width: float, height: float, **kwargs: Any) -> tuple[SvgFigure, Any]:
    """A figure and its axes (rows, columns); ``width`` and ``height`` are of one panel, in inches."""
    figure = new_figure(columns * width, rows * height + 0.4)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def message(text: str) -> SvgFigure:
    """A figure with a text that explains why there is nothing to draw."""
    lines = textwrap.wrap(text, 52)
    figure = new_figure(3.8, 0.2 + 0.2 * len(lines))
    figure.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", color=PUBLISHED)
    return figure


def wrapped(label: str) -> str:
    """A long label in lines that fit beside a small panel."""
    return "\n".join(textwrap.fill(part, 18) for part in label.replace(" (", "\n(").splitlines())


def stacked(variant: str, training: str, lines: int = 2) -> str:
    """The short name of a model, on two or three lines where it names the training."""
    label = short_label(variant, training).replace(", ", ",\n")
    return label.replace(" training", "\ntraining") if lines == 3 else label


def marker(attack: str) -> str:
    return "o" if attack == "clean" else catalogue.ATTACKS.get(attack, _PLAIN).marker


def line(attack: str) -> Any:
    return "-" if attack == "clean" else catalogue.ATTACKS.get(attack, _PLAIN).line


def model_colour(variant: str, training: str) -> str:
    if (method := training.partition(" ")[0]) in RIVAL_COLOURS:
        return RIVAL_COLOURS[method]
    if (row := catalogue.VARIANTS.get(variant)) is None:
        return OTHER
    return row.other_colour if is_control(variant, training) else row.colour


def model_patches(models: Iterable[tuple[str, str]]) -> list[Patch]:
    """For a legend: the colour and name of each (variant, training)."""
    return [Patch(color=model_colour(*model), label=short_label(*model)) for model in models]


def measured(
    axes: Axes, x: Any, y: Any, low: Any, high: Any, *, attack: str, colour: str, join: bool = True
) -> None:
    """Filled points in percent with their interval as a bar, joined by the attack's line."""
    style: dict[str, Any] = {
        "marker": marker(attack),
        "linestyle": line(attack) if join else "none",
        "color": colour,
    }
    below = [max(a - b, 0.0) for a, b in zip(y, low, strict=True)]
    above = [max(b - a, 0.0) for a, b in zip(y, high, strict=True)]
    bars = axes.errorbar(x, y, yerr=[below, above], elinewidth=0.9, zorder=3, **style)
    for part in bars.lines[2]:
        part.set_alpha(0.6)


def published(axes: Axes, x: Any, y: Any, *, attack: str) -> None:
    """Hollow grey points."""
    axes.plot(
        x, y, linestyle="none", marker=marker(attack), markerfacecolor="white", color=PUBLISHED, zorder=2
    )


def percent_axis(axes: Axes, label: str | None = None) -> None:
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 20))
    if label:
        axes.set_ylabel(label)


def attack_legend(
    figure: Figure, attacks: list[str], *, several_seeds: bool, more: Iterable[Line2D] = ()
) -> None:
    """One legend under the figure: the attacks, what filled, hollow and dashes mean, and ``more``."""
    handles = [
        Line2D([], [], color="black", marker=marker(a), linestyle=line(a), label=attack_name(a))
        for a in attacks
    ]
    handles.append(Line2D([], [], color="black", marker="o", linestyle="none", label="measured (95 %)"))
    hollow = Line2D([], [], color=PUBLISHED, marker="o", markerfacecolor="white", linestyle="none")
    hollow.set_label("published")
    handles.append(hollow)
    if several_seeds:
        label = "lowest, highest seed"
        handles.append(Line2D([], [], color="black", marker="_", linestyle="none", label=label))
    legend_below(figure, [*handles, *more])


def legend_below(figure: Figure, handles: list[Any]) -> None:
    """A legend under the figure in as few rows as its width allows, of equal length where that is possible."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    rows = max(1, math.ceil(len(handles) / max(1, int(figure.get_figwidth() / (0.45 + 0.06 * longest)))))
    columns = math.ceil(len(handles) / rows)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, columnspacing=1.2
    )
