"""What can be measured about saliency maps, as a picture. No torch here."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.report.report import Report, by_model
from meddef.statistics import Proportion, Z, mean_over_seeds

MEASURES = {
    "energy": "heat inside\nthe lesion (%)",
    "pointing": "maximum in\nthe lesion (%)",
    "border": "heat in\nthe border (%)",
}


@styled
def measures(report: Report) -> SvgFigure:
    """Heat in the lesion, pointing game and heat in the border: a row a dataset, a mark a model.

    Bars are 95 % intervals over images (Wilson for the pointing game, mean ± 1.96 standard errors for shares). Dashes:
    what an even map would give.
    """
    datasets = [dataset for dataset in report.datasets if report.of("saliency", dataset.name)]
    if not datasets:
        return style.message("This profile holds no saliency.")
    frame = pd.DataFrame([row for dataset in datasets for row in _rows(report, dataset.name)])
    models = list(dict.fromkeys(zip(frame["variant"], frame["training"], strict=True)))
    figure, axes = style.grid(len(datasets), len(MEASURES), width=2.5, height=1.9, sharex=True, sharey="col")
    for row, dataset in zip(axes, datasets, strict=True):
        ours = frame[frame["dataset"] == dataset.name]
        for panel, (name, label) in zip(row, MEASURES.items(), strict=True):
            _panel(panel, ours[ours["measure"] == name], models)
            panel.set_title(f"n = {ours['n'].iloc[0]}")
            panel.set_ylabel(f"{style.wrapped(dataset.label)}\n{label}" if panel is row[0] else label)
    style.legend_below(figure, style.model_patches(models))
    return figure.showing(report, frame, report.of("saliency"))


def _rows(report: Report, dataset: str) -> list[dict[str, Any]]:
    """One row a model and measure, in percent; ``chance`` is what an even map would give."""
    rows = []
    for (variant, training), records in by_model(report.of("saliency", dataset)).items():
        images = pd.concat([pd.DataFrame(record["images"]) for record in records])
        head = {"dataset": dataset, "variant": variant, "training": training, "n": records[0]["n"]}
        hits = [Proportion(sum(i["pointing_hit"] for i in r["images"]), r["n"]) for r in records]
        area = 100 * images["lesion_share"].mean()
        pointing = mean_over_seeds(hits, "value")
        found = {
            "energy": (*_mean(images["energy_in_lesion"]), area),
            "pointing": (*(pointing[f"value{end}"] for end in ("", "_low", "_high")), area),
            "border": (*_mean(images["border_share"]), 100 * BORDER_AREA),
        }
        for measure, (value, low, high, chance) in found.items():
            rows.append(
                {**head, "measure": measure, "value": value, "low": low, "high": high, "chance": chance}
            )
    return rows


BORDER_AREA = (
    1 - (1 - 2 * 0.1) ** 2
)  # the outer tenth of a square on every side, as ``saliency.border_mask`` has it


def _mean(shares: pd.Series) -> tuple[float, float, float]:
    """Mean in percent and the ends of its 95 % interval."""
    mean, half = 100 * shares.mean(), 100 * Z * shares.sem()
    return mean, max(0.0, mean - half), min(100.0, mean + half)


def _panel(panel: Axes, rows: pd.DataFrame, models: list[tuple[str, str]]) -> None:
    for row in rows.to_dict("records"):
        place = models.index((row["variant"], row["training"]))
        colour = style.model_colour(row["variant"], row["training"])
        bars = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        panel.errorbar([place], [row["value"]], yerr=bars, marker="o", color=colour, linestyle="none")
        panel.plot([place - 0.3, place + 0.3], [row["chance"]] * 2, "--", color=style.PUBLISHED)
    panel.set_xticks([])
    panel.set_xlim(-0.6, len(models) - 0.4)
    panel.set_ylim(0, None)
