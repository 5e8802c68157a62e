"""Power with few trainings, from the spread between trainings in the records."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from meddef.report import crossed
from meddef.report.display import Table, Text
from meddef.report.labels import attack_name
from meddef.report.null import SHUFFLED, Training, answers, enough
from meddef.report.report import Report
from meddef.statistics import FEWEST_TRAININGS, margin

POINTS = 10.0  # the difference whose power is stated
SEEDS = (FEWEST_TRAININGS, 5)
USUAL = 0.8  # the conventional power
STATED = ("pgd", 0.05)  # the condition of the sentence


class Spread(NamedTuple):
    """Standard deviations in points: between trainings of one model, and, for a difference of two models with any
    number of trainings, of the choice of images."""

    trainings: float
    images: float


def spread(ours: dict[Training, np.ndarray]) -> Spread:
    """Of one condition: over the models trained the ``SHUFFLED`` way, and pairs of them (answers as in ``null``)."""
    models: dict[str, list[np.ndarray]] = {}
    for (variant, training, _), right in ours.items():
        if training == SHUFFLED:
            models.setdefault(variant, []).append(100.0 * right)
    groups = [np.array(trainings) for trainings in models.values()]
    between = np.mean([group.mean(axis=1).var(ddof=1) for group in groups])
    of_images = [
        crossed.error([a, -b]).se ** 2 - sum(g.mean(axis=1).var(ddof=1) / len(g) for g in (a, b))
        for a, b in combinations(groups, 2)
    ]
    return Spread(math.sqrt(between), math.sqrt(max(0.0, float(np.mean(of_images)))))


def power(points: float, trainings: int, found: Spread) -> float:
    """Chance that a difference of ``points`` between two models with ``trainings`` each is clear (p < 0.05, one
    comparison): Student's t with the degrees of freedom of ``crossed.error``."""
    se, df, errors = _errors(trainings, found)
    far = crossed.quantile(0.95, df) * errors
    return float((norm.sf(far - points / se) + norm.cdf(-far - points / se)).mean())


def _errors(trainings: int, found: Spread) -> tuple[float, float, np.ndarray]:
    """The true standard error, its degrees of freedom, and a thousand equally likely estimates, as shares of it."""
    of_trainings = 2 * found.trainings**2 / trainings
    se = math.sqrt(of_trainings + found.images**2)
    df = min(se**4 * 2 * (trainings - 1) / max(of_trainings, 1e-9) ** 2, 1e6)
    return se, df, np.sqrt(chi2.ppf((np.arange(1000) + 0.5) / 1000, df) / df)


def absence(trainings: int, found: Spread, within: float) -> float:
    """Chance that no difference at all is shown to be smaller than ``within`` points (TOST, one comparison)."""
    se, df, errors = _errors(trainings, found)
    room = np.maximum(0.0, within / se - crossed.quantile(0.9, df) * errors)
    return float((norm.cdf(room) - norm.cdf(-room)).mean())


def least(trainings: int, found: Spread) -> float:
    """The difference in points that has a power of ``USUAL``; NaN beyond 100."""
    if power(100.0, trainings, found) < USUAL:
        return math.nan
    return float(brentq(lambda points: power(points, trainings, found) - USUAL, 0.0, 100.0))


def spreads(report: Report) -> dict[tuple[str, float], tuple[int, Spread]]:
    """(attack, epsilon) -> images and spread, on the first dataset with enough trainings; empty without one."""
    for dataset in report.datasets:
        if enough(found := answers(report, dataset)):
            return {c: (len(next(iter(ours.values()))), spread(ours)) for c, ours in found.items()}
    return {}


def sentence(report: Report) -> Text:
    """The power at ``POINTS`` points under PGD, with three trainings and with five."""
    n, found = spreads(report)[STATED]
    chances = " and ".join(f"{power(POINTS, seeds, found):.2f} with {seeds}" for seeds in SEEDS)
    attack, eps = STATED
    return Text(
        f"Under {attack_name(attack)} at ε = {eps:g} trainings of one model have a standard deviation of "
        f"{found.trainings:.1f} points. A difference of {POINTS:g} points between two models is then detected with "
        f"probability {chances} trainings of each (n = {n}, one comparison)."
    )


def table(report: Report) -> Table:
    """One row per condition: spread between trainings, power at ``POINTS`` points, difference with a power of 80 %."""
    rows = [
        {
            "condition": attack_name(attack) + (f", ε = {eps:.2g}" if eps else ""),
            "n": str(n),
            "between trainings\n(sd, points)": f"{found.trainings:.1f}",
            **{
                f"power at {POINTS:g} points,\n{seeds} trainings": f"{power(POINTS, seeds, found):.2f}"
                for seeds in SEEDS
            },
            f"detected with 80 %,\n{SEEDS[0]} trainings": f"{least(SEEDS[0], found):.1f}",
            "margin\n(points)": f"±{margin(attack):g}",
            **{
                f"equivalence shown,\n{seeds} trainings": f"{absence(seeds, found, margin(attack)):.2f}"
                for seeds in SEEDS
            },
        }
        for (attack, eps), (n, found) in spreads(report).items()
    ]
    caption = (
        f"Power with few trainings ({report.title}, models with {SHUFFLED} training): the standard "
        f"deviation between trainings of one model; the power at a difference of {POINTS:g} points; the difference, "
        "in points, detected with a power of 80 %; and, for no difference, the probability of showing equivalence "
        "within the margin. For one comparison, before correction."
    )
    return Table(pd.DataFrame(rows), caption)
