"""Measures of saliency maps, as estimates with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from meddef.records import Record
from meddef.report.report import Report, by_model
from meddef.statistics import CONFIDENCE, Proportion

BORDER_AREA = 100 * (
    1 - (1 - 2 * 0.1) ** 2
)  # percent: the outer tenth of a square, as ``border_mask`` has it
SHARE, CORRELATION, DIFFERENCE = (0.0, 100.0), (-1.0, 1.0), (-100.0, 100.0)
COLUMNS = ["dataset", "variant", "training", "measure", "n", "value", "low", "high", "chance"]


@dataclass(frozen=True)
class Measure:
    """One number per image: how to get it and its chance level from the images of a record, and where it must lie."""

    values: Callable[[pd.DataFrame], pd.Series]
    chance: Callable[[pd.DataFrame], float]
    bounds: tuple[float, float]


def _kept(images: pd.DataFrame) -> pd.Series:
    return images["prediction"] == images["attacked_prediction"]


MEASURES = {
    "energy": Measure(lambda i: 100 * i["energy_in_lesion"], lambda i: 100 * i["lesion_share"].mean(), SHARE),
    "pointing": Measure(lambda i: 100 * i["pointing_hit"], lambda i: 100 * i["lesion_share"].mean(), SHARE),
    "border": Measure(lambda i: 100 * i["border_share"], lambda i: BORDER_AREA, SHARE),
    "probability": Measure(lambda i: 100 * i["probability"], lambda i: float("nan"), SHARE),
    "blurred": Measure(lambda i: 100 * i["probability_blurred"], lambda i: float("nan"), SHARE),
    "random": Measure(lambda i: 100 * i["random"], lambda i: float("nan"), SHARE),
    "deletion": Measure(lambda i: 100 * (i["deletion"] - i["random"]), lambda i: 0.0, DIFFERENCE),
    "insertion": Measure(lambda i: 100 * (i["insertion"] - i["random"]), lambda i: 0.0, DIFFERENCE),
    "changed": Measure(
        lambda i: 100 * (~_kept(i))[i["attacked_prediction"].notna()], lambda i: float("nan"), SHARE
    ),
    "correlation": Measure(
        lambda i: i["correlation"][_kept(i)], lambda i: i["other_correlation"].mean(), CORRELATION
    ),
    "correlation, changed": Measure(
        lambda i: i["correlation"][~_kept(i)], lambda i: i["other_correlation"].mean(), CORRELATION
    ),
    "overlap": Measure(
        lambda i: 100 * i["overlap"][_kept(i)], lambda i: 100 * i["other_overlap"].mean(), SHARE
    ),
    "overlap, changed": Measure(
        lambda i: 100 * i["overlap"][~_kept(i)], lambda i: 100 * i["other_overlap"].mean(), SHARE
    ),
}
INPUTS = (
    "prediction", "energy_in_lesion", "lesion_share", "pointing_hit", "border_share", "deletion", "insertion", "random",
    "probability", "probability_blurred", "attacked_prediction", "correlation", "overlap", "other_correlation",
    "other_overlap",
)  # fmt: skip
COUNTED = ("pointing", "changed")  # yes or no an image


def estimates(report: Report) -> pd.DataFrame:
    """One row per model and measure: the mean over images, its interval, and what chance would give.

    Columns: dataset, variant, training, measure (of ``MEASURES``), n (images; text, "5 to 7" where seeds differ),
    value, low, high, chance (NaN where there is none). Correlations are in [-1, 1], deletion and insertion in points of
    probability, less those of the random order; all others in percent. Of several seeds all are means, as in
    ``mean_over_seeds``. A measure without any image has no row.
    """
    rows: list[dict[str, Any]] = []
    for dataset in report.datasets:
        for (variant, training), records in by_model(report.of("saliency", dataset.name)).items():
            head = {"dataset": dataset.name, "variant": variant, "training": training}
            frames = [_numbers(record) for record in records]
            for name in MEASURES:
                found = [row for frame in frames if (row := _estimate(frame, name))["n"]]
                if found:
                    rows.append({**head, "measure": name, **_over_seeds(found)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _numbers(record: Record) -> pd.DataFrame:
    """The images of a record, one per row, the columns ``INPUTS``, float; missing values are NaN."""
    return pd.DataFrame(record["images"]).reindex(columns=INPUTS).astype(float)


def _estimate(images: pd.DataFrame, name: str) -> dict[str, Any]:
    measure = MEASURES[name]
    values = measure.values(images).dropna()
    if name in COUNTED:
        ends = [100 * end for end in Proportion(int((values > 0).sum()), len(values)).interval]
    else:
        ends = _student(values, measure.bounds)
    low, high = ends
    return {
        "n": len(values), "value": values.mean(), "low": low, "high": high, "chance": measure.chance(images),
    }  # fmt: skip


def _student(values: pd.Series, bounds: tuple[float, float]) -> list[float]:
    """Ends of the interval of the mean, no further than the values can lie; NaN with fewer than two."""
    half = student.ppf((1 + CONFIDENCE) / 2, max(len(values) - 1, 1)) * values.sem()
    return list(np.clip([values.mean() - half, values.mean() + half], *bounds))


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts = sorted({row["n"] for row in rows})
    means = {name: float(pd.Series([row[name] for row in rows]).mean()) for name in COLUMNS[5:]}
    return {"n": " to ".join(str(count) for count in (counts[:1] + counts[1:][-1:])), **means}
