"""Statements of the text against what probes and maps recorded, where a check of kind "probe" cannot say it.

As in ``facts_measured``: one profile's records of one dataset and what the check gives; None where they hold nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from meddef.claims import probed
from meddef.claims.measured import Measured
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome
from meddef.records import Record
from meddef.statistics import calibration_error

Given = dict[str, Any]
PIXELS = ("brightness", "contrast", "noise")


def calibrated(source: Measured, given: Given) -> Outcome | None:
    """Mean confidence against clean accuracy of the full model, and its expected calibration error.

    The error is at least the distance of the two, and that of few images too large, so only a distance refutes.
    """
    found = probed.scores(source, "full", "calibration", lambda row: row["confidence"] - row["right"])
    estimate = None if found is None else probed.mean(found)
    if estimate is None:
        return None
    records = [
        record["measures"]
        for record in source.report.of("probe", source.dataset.name)
        if (record["probe"], record.get("variant"), record.get("training"))
        == ("calibration", "full", "adversarial")
    ]
    errors = [calibration_error(row["confidence"], row["right"]) for row in records]
    error, most = float(np.mean(errors)), given["at_most"]
    verdict = estimate.within(-most, most)
    if verdict == HOLDS and error > most:
        verdict = OPEN
    words = f"confidence minus accuracy {estimate.words()}, expected calibration error {error:.2f}"
    return Outcome(verdict, f"{words}, tested against: within ±{most:g}")


def _pixels(source: Measured) -> Record | None:
    found = [r for r in source.report.of("probe", source.dataset.name) if r["probe"] == "images"]
    return found[0] if found else None


def variability(source: Measured, given: Given) -> Outcome | None:
    """Spread of brightness, contrast and noise over images that were brought to size and nothing else."""
    if (record := _pixels(source)) is None:
        return None
    spreads, told = [], []
    for name in PIXELS:
        values = np.array(record["measures"][f"{name} before"], dtype=float)
        spreads.append(float(values.std() / values.mean()))
        told.append(
            f"{name} {values.mean():.1f} ± {values.std():.1f} grey levels ({100 * spreads[-1]:.0f} %)"
        )
    words = f"{', '.join(told)}, n = {record['n']}, tested against: a spread of at least {100 * given['least']:g} %"
    return Outcome(HOLDS if min(spreads) >= given["least"] else FAILS, words)


def noise_free(source: Measured, given: Given) -> Outcome | None:
    """Noise before and after preprocessing, and of phantoms how far lesions stand out: shown, and not decided, since
    the estimate counts fine structure as noise, and the lesions of real images are unknown."""
    if (record := _pixels(source)) is None:
        return None
    medians = {n: float(np.nanmedian(np.array(v, dtype=float))) for n, v in record["measures"].items()}
    words = f"noise at most {medians['noise before']:.1f} grey levels before and {medians['noise after']:.1f} after, "
    lesions = ", the lesions' contrast over noise {:.1f} and {:.1f}"
    if "lesion before" in medians:
        words = words.rstrip(", ") + lesions.format(medians["lesion before"], medians["lesion after"]) + ", "
    return Outcome(OPEN, f"{words}medians of {record['n']} images; fine structure counts as noise")


def focus(source: Measured, given: Given) -> Outcome | None:
    """Share of saliency in lesions, of the full model and another, where lesions are known."""
    shares = {}
    for model in ("full", given["than"]):
        values = [
            row["energy_in_lesion"]
            for record in source.report.of("saliency", source.dataset.name)
            if record["variant"] == model
            for row in record["images"]
        ]
        if not values or None in values:
            return None
        shares[model] = 100 * float(np.nanmean(np.array(values, dtype=float)))
    told = " and ".join(f"{share:.1f} % of {model}" for model, share in shares.items())
    return Outcome(OPEN, f"saliency in the lesions: {told}")


FACTS: dict[str, Callable[[Measured, Given], Outcome | None]] = {
    function.__name__: function for function in (calibrated, focus, noise_free, variability)
}
