"""Saliency measures as tables and in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from meddef.report.display import DASH, Table, Text, seeds_note
from meddef.report.findings import bullets
from meddef.report.labels import short_label
from meddef.report.report import Dataset, Report, by_model
from meddef.report.saliency_measures import estimates
from meddef.statistics import CONFIDENCE

INTERVALS = (
    f"Below a value: its {100 * CONFIDENCE:.0f} % interval over images: Wilson's for shares of images, "
    "Student's t for means."
)
Cells = dict[str, dict[str, Any]]  # measure -> its estimate


def _by_model(report: Report, dataset: Dataset) -> dict[str, Cells]:
    frame = estimates(report)
    ours = frame[frame["dataset"] == dataset.name]
    return {
        short_label(str(variant), str(training)): {row["measure"]: row for row in rows.to_dict("records")}
        for (variant, training), rows in ours.groupby(["variant", "training"], sort=False)
    }


def _cell(found: dict[str, Any] | None, digits: int = 1, sign: str = "") -> str:
    """ "12.3" and below it "[4.5, 20.1]"; a dash where nothing was measured."""
    if found is None:
        return DASH
    value = f"{found['value']:{sign}.{digits}f}"
    if pd.isna(found["low"]):
        return value
    return f"{value}\n[{found['low']:{sign}.{digits}f}, {found['high']:{sign}.{digits}f}]"


def _counted(found: dict[str, Any] | None) -> str:
    """``_cell`` with the number of images below it."""
    return DASH if found is None else f"{_cell(found, 2)}\nn = {found['n']}"


def _chance(found: dict[str, Any] | None, digits: int = 1) -> str:
    return DASH if found is None else f"{found['chance']:.{digits}f}"


def _images(cells: Cells) -> str:
    """Number of images, and of non-zero maps where that differs: means of maps are over these."""
    every, heated = str((cells.get("changed") or cells["pointing"])["n"]), str(cells["border"]["n"])
    return every if every == heated else f"{every}\n{heated} non-zero"


def places(report: Report) -> Table:
    """Location of each model's saliency: in the lesion, where known, and in the border."""
    rows = [
        {
            "dataset": dataset.label,
            "model": model,
            "n": _images(cells),
            "saliency in the lesion (%)": _cell(cells.get("energy")),
            "lesion's area (%)": _chance(cells.get("energy")),
            "maximum in the lesion (%)": _cell(cells.get("pointing")),
            "saliency in the border (%)": _cell(cells["border"]),
            "border's area (%)": _chance(cells["border"]),
        }
        for dataset in report.datasets
        for model, cells in _by_model(report, dataset).items()
    ]
    caption = f"Location of saliency; the area is the value of a uniform map. {INTERVALS}"
    return Table(pd.DataFrame(rows), caption + seeds_note(_seeds(report)), header=2)


def removal(report: Report) -> Table:
    """Deletion and insertion of each model, minus those of a random order."""
    rows = [
        {
            "dataset": dataset.label,
            "model": model,
            "n": cells["deletion"]["n"],
            "deletion less random (points)": _cell(cells["deletion"], sign="+"),
            "insertion less random (points)": _cell(cells["insertion"], sign="+"),
            "random order (%)": _cell(cells["random"]),
            "predicted class (%)": f"{cells['probability']['value']:.1f}",
            "blurred (%)": f"{cells['blurred']['value']:.1f}",
        }
        for dataset in report.datasets
        for model, cells in _by_model(report, dataset).items()
        if "deletion" in cells
    ]
    caption = (
        "Area under the probability of the predicted class while pixels are blurred (deletion) or restored "
        "(insertion) in order of saliency, minus the area for a random order of the same coarseness. Deletion below "
        "zero and insertion above it: the map is faithful to the model. Last columns: the probability of that class "
        f"for the original and the blurred image, between which the curves run. {INTERVALS}"
    )
    return Table(pd.DataFrame(rows), caption + seeds_note(_seeds(report)), header=2)


def agreement(report: Report) -> Table:
    """Similarity of the maps before and after PGD, for kept and changed predictions."""
    rows = []
    for dataset in report.datasets:
        for model, cells in _by_model(report, dataset).items():
            if "changed" not in cells:
                continue
            kept, changed = cells.get("correlation"), cells.get("correlation, changed")
            either = kept or changed
            rows.append(
                {
                    "dataset": dataset.label,
                    "model": model,
                    "n": _images(cells),
                    "prediction changed (%)": _cell(cells["changed"]),
                    "ρ, kept": _counted(kept),
                    "ρ, changed": _counted(changed),
                    "ρ, other image": _chance(either, 2),
                    "overlap, kept (%)": _cell(cells.get("overlap")),
                    "overlap, changed (%)": _cell(cells.get("overlap, changed")),
                    "overlap, other image (%)": _chance(
                        cells.get("overlap") or cells.get("overlap, changed")
                    ),
                }
            )
    caption = (
        f"Maps of the same image before and after {_attack(report)}: Spearman's ρ, and overlap of the top fifth, for "
        "images whose prediction the attack kept or changed. Other image: the same for the maps of two different "
        f"images, as a baseline. {INTERVALS}"
    )
    return Table(pd.DataFrame(rows), caption + seeds_note(_seeds(report)), header=2)


def _attack(report: Report) -> str:
    """ "PGD (ε = 0.05, 40 steps of 0.01)", as the records have it."""
    rules = [record["settings"]["pgd"] for record in report.of("saliency") if "settings" in record]
    told = {f"PGD (ε = {r['eps']:g}, {r['steps']} steps of {r['step_size']:g})" for r in rules}
    return " or ".join(sorted(told)) or "PGD"


def _seeds(report: Report) -> list[int]:
    return [len({r["seed"] for r in records}) for records in by_model(report.of("saliency")).values()]


def findings(report: Report) -> Text:
    """Location, faithfulness and stability of saliency, in sentences."""
    sentences = []
    for dataset in report.datasets:
        models = _by_model(report, dataset)
        if not models:
            sentences.append(f"{dataset.words}: no saliency was measured.")
            continue
        sentences.append(_lesion(dataset, models))
        if all("deletion" in cells and "changed" in cells for cells in models.values()):
            sentences += [_matters(dataset, models), _moved(dataset, models)]
    return bullets(sentences)


def _lesion(dataset: Dataset, models: dict[str, Cells]) -> str:
    gains = {m: c["energy"]["value"] / c["energy"]["chance"] for m, c in models.items() if "energy" in c}
    border = [cells["border"] for cells in models.values()]
    if not gains:
        return (
            f"{dataset.words}, n = {border[0]['n']} images: no lesion mask is known, so saliency in the lesion not "
            f"measured; {_range(border, 1)} % of the saliency lies in the border, {border[0]['chance']:.1f} % for "
            "a uniform map."
        )
    order = sorted(gains, key=lambda name: gains[name], reverse=True)
    n = next(iter(models.values()))["energy"]["n"]
    return (
        f"{dataset.words}, n = {n} images: share of saliency in the lesion over the lesion's share of the area, in "
        "decreasing order: "
        f"{', '.join(f'{name} {gains[name]:.1f}' for name in order)} (1 is chance)."
    )


def _matters(dataset: Dataset, models: dict[str, Cells]) -> str:
    deletion = sum(cells["deletion"]["high"] < 0 for cells in models.values())
    insertion = sum(cells["insertion"]["low"] > 0 for cells in models.values())
    return (
        f"{dataset.words}: in order of saliency, deletion is clearly below the random order for {deletion} of "
        f"{len(models)} models, insertion clearly above it for {insertion} (the interval excludes zero)."
    )


def _moved(dataset: Dataset, models: dict[str, Cells]) -> str:
    kept, changed = (
        [cells[name] for cells in models.values() if name in cells]
        for name in ("correlation", "correlation, changed")
    )
    parts = [
        f"where the prediction {verb}, {_range(found, 2)}"
        for verb, found in (("stayed", kept), ("changed", changed))
        if found
    ]
    control = [{"value": cell["chance"]} for cell in kept + changed]
    flipped = _range([cells["changed"] for cells in models.values()], 1)
    maps = f" Correlation of the maps before and after it: {'; '.join(parts)}; " * bool(parts)
    other = f"of two different images, {_range(control, 2)}." * bool(parts)
    return f"{dataset.words}: the attack changed {flipped} % of the predictions, by model.{maps}{other}"


def _range(cells: Iterable[dict[str, Any]], digits: int) -> str:
    values = [f"{value:.{digits}f}" for value in sorted(cell["value"] for cell in cells)]
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
