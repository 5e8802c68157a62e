"""Charts of saliency measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.report import Dataset, Report, by_model
from meddef.report.saliency_measures import estimates

PLACES = {
    "energy": "saliency inside\nthe lesion (%)",
    "pointing": "maximum in\nthe lesion (%)",
    "border": "saliency in\nthe border (%)",
}
REMOVAL = {
    "deletion": "deletion less\nrandom (points)",
    "insertion": "insertion less\nrandom (points)",
}
AGREEMENT = {
    "correlation": "rank correlation\nbefore, after attack",
    "overlap": "overlap of the top\nfifth (%)",
}
LEVELS = np.linspace(0, 1, 11)
NOTHING = "This profile holds no records for it."
Models = list[tuple[str, str]]


@styled
def measures(report: Report) -> SvgFigure:
    """Saliency in the lesion, pointing game and saliency in the border: one row per dataset, one mark per model.

    Bars are 95 % intervals over images (Wilson for the pointing game, Student's t for shares). Dashes: a uniform map.
    Without known lesions, panels are empty or omitted.
    """
    return _marks(report, PLACES, "even map")


@styled
def removal(report: Report) -> SvgFigure:
    """Areas under deletion and insertion minus those of a random order (dashes), by dataset (row) and model.

    Bars are 95 % intervals over images (Student's t).
    """
    return _marks(report, REMOVAL, "random order")


@styled
def agreement(report: Report) -> SvgFigure:
    """Similarity of the maps before and after the attack: one row per dataset, two marks per model.

    Filled: images whose prediction the attack kept; hollow: those whose prediction it changed. Bars are 95 % intervals
    over images (Student's t). Dashes: the maps of two different images.
    """
    return _marks(report, AGREEMENT, "maps of two different images")


def _marks(report: Report, labels: Mapping[str, str], chance: str) -> SvgFigure:
    datasets = _datasets(report)
    frame = estimates(report)
    frame = frame[frame["measure"].str.removesuffix(", changed").isin(labels)]
    if frame.empty:
        return style.message(NOTHING)
    models = list(dict.fromkeys(zip(frame["variant"], frame["training"], strict=True)))
    labels = {name: label for name, label in labels.items() if (frame["measure"] == name).any()}
    figure, axes = style.grid(
        len(datasets), len(labels), width=7.5 / len(labels), height=1.9, sharex=True, sharey="col"
    )
    for row, dataset in zip(axes, datasets, strict=True):
        ours = frame[frame["dataset"] == dataset.name]
        for panel, (name, label) in zip(row, labels.items(), strict=True):
            _panel(panel, ours, name, models)
            panel.set_title(_counts(report, dataset, ours, name))
            panel.set_ylabel(f"{style.wrapped(dataset.label)}\n{label}" if panel is row[0] else label)
    for panel, name in zip(axes[-1], labels, strict=True):
        if name in PLACES:  # once all rows, which share the axis, are drawn
            top = panel.get_ylim()[1]
            panel.set_ylim(-0.04 * top, top)
    control = Line2D([], [], color=style.PUBLISHED, linestyle="--", label=chance)
    handles = [*style.model_patches(models), control]
    if frame["measure"].str.endswith(", changed").any():
        handles += [_kind("prediction kept", hollow=False), _kind("prediction changed", hollow=True)]
    style.legend_below(figure, handles)
    return figure.showing(report, frame, report.of("saliency"))


def _datasets(report: Report) -> list[Dataset]:
    return [dataset for dataset in report.datasets if report.of("saliency", dataset.name)]


def _counts(report: Report, dataset: Dataset, rows: pd.DataFrame, name: str) -> str:
    """ "n = 24": all images, including those whose map is zero."""
    known = rows["measure"].str.startswith(name).any()
    return f"n = {report.of('saliency', dataset.name)[0]['n']}" if known else "no lesion is known"


def _kind(label: str, *, hollow: bool) -> Line2D:
    face = "white" if hollow else "black"
    return Line2D([], [], color="black", marker="o", markerfacecolor=face, linestyle="none", label=label)


def _panel(panel: Axes, rows: pd.DataFrame, name: str, models: Models) -> None:
    for row in rows.to_dict("records"):
        measure, _, changed = str(row["measure"]).partition(", ")
        if measure == name:
            place = models.index((row["variant"], row["training"]))
            _mark(panel, row, place, hollow=bool(changed), beside=name in AGREEMENT)
    if not rows["measure"].str.startswith(name).any():
        panel.tick_params(left=False, labelleft=False)
    panel.set_xticks([])
    panel.set_xlim(-0.6, len(models) - 0.4)


def _mark(panel: Axes, row: dict[Any, Any], place: int, *, hollow: bool, beside: bool) -> None:
    colour = style.model_colour(row["variant"], row["training"])
    x = place + 0.15 * beside * (1 if hollow else -1)
    bars = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    face = "white" if hollow else colour
    panel.errorbar(
        [x], [row["value"]], yerr=bars, marker="o", color=colour, markerfacecolor=face, linestyle="none"
    )
    panel.plot([place - 0.3, place + 0.3], [row["chance"]] * 2, "--", color=style.PUBLISHED)


@styled
def class_means(report: Report) -> SvgFigure:
    """The mean Grad-CAM map of each true class, 16 x 16, by class (row) and model (column). No single image is shown.

    Each map is scaled to [0, 1] before the mean. Contour lines are drawn, no pixels.
    """
    datasets = _datasets(report)
    means = {dataset.name: _means(report, dataset) for dataset in datasets}
    rows = [
        (dataset, label)
        for dataset in datasets
        for label in sorted({label for found in means[dataset.name].values() for label in found})
    ]
    if not rows:
        return style.message(NOTHING)
    models = list(dict.fromkeys(model for found in means.values() for model in found))
    side = 7.5 / max(len(models), 5)
    figure, axes = style.grid(len(rows), len(models), width=side, height=max(1.0, 0.8 * side))
    figure.set_layout_engine("compressed")  # made for axes whose sides are equal
    drawn: list[dict[str, Any]] = []
    filled: Any = None
    for row, (dataset, label) in zip(axes, rows, strict=True):
        for panel, model in zip(row, models, strict=True):
            _bare(panel)
            found = means[dataset.name].get(model, {}).get(label)
            if found is not None:
                filled = _heat(panel, found["map"])
                drawn += _rows(dataset, label, model, found)
        name = dataset.classes[label]
        n = next(found[label]["n"] for found in means[dataset.name].values() if label in found)
        above = f"{style.wrapped(dataset.title)}\n" if len(datasets) > 1 else ""
        row[0].set_ylabel(f"{above}{name}\nn = {n}", fontsize=7)
    for panel, model in zip(axes[0], models, strict=True):
        panel.set_title(style.stacked(*model, lines=3).replace("w/o ", "w/o\n"), fontsize=7)
    bar = figure.colorbar(filled, ax=axes, shrink=0.8, ticks=[0, 0.5, 1])
    bar.set_label("mean saliency (1: maximum)")
    return figure.showing(report, pd.DataFrame(drawn), report.of("saliency"))


def _means(report: Report, dataset: Dataset) -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """Model -> class -> n and mean map (16, 16), averaged over seeds, which all see the same images."""
    found = {}
    for model, records in by_model(report.of("saliency", dataset.name)).items():
        seeds = [record.get("class_maps", []) for record in records]
        labels = sorted({row["label"] for maps in seeds for row in maps})
        found[model] = {label: _mean_of(seeds, label) for label in labels}
    return found


def _mean_of(seeds: list[list[dict[str, Any]]], label: int) -> dict[str, Any]:
    rows = [row for maps in seeds for row in maps if row["label"] == label]
    return {"n": rows[0]["n"], "map": np.mean([row["map"] for row in rows], axis=0)}


def _rows(
    dataset: Dataset, label: int, model: tuple[str, str], found: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row of numbers per row of the map, from the top; columns 0 to 15 from the left."""
    head = {"dataset": dataset.name, "class": dataset.classes[label], "n": found["n"]}
    model_name = {"variant": model[0], "training": model[1]}
    return [
        {**head, **model_name, "row": number, **{str(i): value for i, value in enumerate(line)}}
        for number, line in enumerate(found["map"].tolist())
    ]


def _heat(panel: Axes, heat: np.ndarray) -> Any:
    centres = (np.arange(len(heat)) + 0.5) / len(heat)
    panel.set_xlim(0, 1)
    panel.set_ylim(1, 0)
    return panel.contourf(centres, centres, heat, levels=LEVELS, cmap="inferno", extend="neither")


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_aspect("equal")
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)
