"""What ``meddef evaluate`` says of an outcome: tables, rows, a headline and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from meddef.commands.output import Found
from meddef.commands.told import Told, brackets, constant_classifier, counted, in_levels, interval
from meddef.evaluation.diagnostic import Diagnostic, Estimate, as_rows, diagnostic_accuracy
from meddef.report.display import DASH, Table
from meddef.statistics import Proportion, reliability

if TYPE_CHECKING:
    from meddef.data.images import ImageSet
    from meddef.evaluation.metrics import Evaluation
    from meddef.evaluation.robustness_curve import MinimalEps

ROUNDING = 1e-4  # share of ε by which an attack may seem to go too far


def single(
    outcome: Evaluation, classes: Sequence[str], positive: int, patients: Sequence[str], told: Told
) -> Found:
    """Of an attack at one ε: rates, diagnostic accuracy before and after, reliability."""
    rates = {
        "clean accuracy": outcome.clean_accuracy,
        "robust accuracy": outcome.robust_accuracy,
        "attack success rate": outcome.asr,
    } | ({} if outcome.targets is None else {"targeted success": outcome.targeted_success})
    read = diagnostic_accuracy(outcome, classes, positive=positive, patients=patients)
    bins = {when: _bins(outcome, when) for when in ("before", "after")}
    n = outcome.counts.n
    tables = [
        Table(_rates(rates), f"{told.title} on {told.on(n)}"),
        Table(_diagnostic(read, clean=told.attack == "clean"), "Diagnostic accuracy", left=("class",)),
    ]
    people = len(set(patients))
    drawn = f"{n} images" if people == n else f"{people} patients"
    alone = "" if people == n else ", taking images as independent"
    notes = [
        f"largest change of a pixel {outcome.linf:.4f}, most features changed {outcome.l0}",
        f"95 % intervals: of the rates Wilson{alone}; of diagnostic accuracy "
        f"{'Wilson where it is a share of images, else ' if people == n else ''}by bootstrap of {drawn}",
    ]
    if not told.linf:
        notes.insert(1, _lengths(outcome))
    if told.eps is not None and told.linf and outcome.linf > told.eps * (1 + ROUNDING):
        notes.append(f"the attack moved a pixel by {outcome.linf:.4f}, more than its ε of {told.eps:.4f}")
    notes += constant_classifier(outcome.labels, outcome.before, classes)
    return Found(
        summary=_summary(outcome.clean_accuracy, outcome.robust_accuracy, told),
        about={**told.about, "n": n},
        headline={name.replace(" ", "_"): rate.value for name, rate in rates.items()}
        | {"largest_change": outcome.linf, "most_features_changed": outcome.l0},
        rows={
            "rates": [{"measure": name} | counted(rate) for name, rate in rates.items()],
            "diagnostic": as_rows(read),
            "reliability": [{"when": when} | asdict(one) for when, held in bins.items() for one in held],
        },
        csv=("rates", "diagnostic"),
        tables=tables,
        more=[Table(_reliability(bins), "Calibration: confidence of the predictions, and accuracy at it")],
        notes=[*notes, *told.notes],
        picture=partial(_draw_reliability, bins, f"{told.attack} on {told.on(n)}"),
    )


def _lengths(outcome: Evaluation) -> str:
    """How long, in L2, the changes are that broke an image."""
    assert outcome.l2 is not None
    broken = outcome.l2[(outcome.before == outcome.labels) & (outcome.after != outcome.labels)]
    if not len(broken):
        return "length in L2 of the changes that broke an image: none did"
    median, largest = np.median(broken), broken.max()
    return f"length in L2 of the changes that broke an image: median {median:.3f}, largest {largest:.3f}"


def labels(outcomes: Mapping[str, Evaluation], patients: Sequence[str], told: Told) -> Found:
    """Of labels that were attacked one by one: one row per label, and the diagnostic accuracy of each for the files."""
    read = {
        name: diagnostic_accuracy(one, ["without", name], patients=patients) for name, one in outcomes.items()
    }
    rates = [
        (name, measure, rate)
        for name, one in outcomes.items()
        for measure, rate in (
            ("clean accuracy", one.clean_accuracy),
            ("robust accuracy", one.robust_accuracy),
            ("attack success rate", one.asr),
        )
    ]
    clean, robust = (
        {name: rate for name, measure, rate in rates if measure == f"{kind} accuracy"}
        for kind in ("clean", "robust")
    )
    lowest = min(robust, key=lambda name: robust[name].value)
    means = [fmean(rate.value for rate in some.values()) for some in (clean, robust)]
    n = len(patients)
    frame = pd.DataFrame(
        {"label": list(outcomes), "images with it": [str(int(one.labels.sum())) for one in outcomes.values()]}
        | {
            kind: [f"{rate.value:.1%} {brackets(rate)}" for _, measure, rate in rates if measure == kind]
            for kind in dict.fromkeys(measure for _, measure, _ in rates)
        }
    )
    tables = [
        Table(
            _diagnostic(found, clean=told.attack == "clean"), f"Diagnostic accuracy: {name}", left=("class",)
        )
        for name, found in read.items()
    ]
    return Found(
        summary=f"Robust accuracy under {told.strength}, mean of {len(outcomes)} labels, each attacked alone: "
        f"{means[1]:.1%}, lowest {robust[lowest].value:.1%} ({lowest}), of {n} images; clean accuracy {means[0]:.1%}.",
        about={**told.about, "n": n},
        headline={
            "clean_accuracy": means[0],
            "robust_accuracy": means[1],
            "lowest_robust_accuracy": robust[lowest].value,
        },
        rows={
            "rates": [{"label": name, "measure": measure} | counted(rate) for name, measure, rate in rates],
            "diagnostic": [{"label": name} | row for name, found in read.items() for row in as_rows(found)],
        },
        csv=("rates", "diagnostic"),
        tables=[Table(frame, f"{told.title} on {told.on(n)}")],
        more=tables,
        notes=told.notes,
    )


def curve(found: MinimalEps, images: ImageSet, count: int, told: Told) -> Found:
    """Of an attack along several ε: accuracy at each, and the smallest that fools the model on each image."""
    from meddef.evaluation.cells import test_order

    size = in_levels if told.linf else "{:g}".format
    points = [(eps, found.robust_accuracy(eps)) for eps in (0.0, *found.grid)]
    rows = [{"eps": eps} | counted(rate) | {"fallen": found.fallen[eps]} for eps, rate in points]
    frame = pd.DataFrame(
        {
            "ε": ["no attack", *(size(eps) for eps in found.grid)],
            "correct": [f"{rate.hits}/{rate.n}" for _, rate in points],
            "robust accuracy": [f"{rate.value:.2%}" for _, rate in points],
            "95 % interval": [interval(rate) for _, rate in points],
            "first fooled here": [str(row["fallen"]) for row in rows],
        }
    )
    median = found.median
    half = (
        f"above {size(found.grid[-1])}"
        if math.isinf(median)
        else DASH
        if math.isnan(median)
        else size(median)
    )
    names = [images.names[row] for row in test_order(images, count)]
    columns = zip(names, found.labels.tolist(), found.before.tolist(), found.least.tolist(), strict=True)
    return Found(
        summary=_summary(points[0][1], points[-1][1], told),
        about={**told.about, "n": len(found.least)},
        headline={
            "clean_accuracy": points[0][1].value, "robust_accuracy": points[-1][1].value, "median_least_eps": median,
        },
        rows={
            "curve": rows,
            "images": [{"name": n, "label": y, "before": b, "least_eps": e} for n, y, b, e in columns],
        },
        csv=("curve",),
        tables=[Table(frame, f"{told.title} on {told.on(len(names))}")],
        notes=[
            f"smallest ε that fools the model, over correctly classified images: median {half}; "
            f"{found.fallen[math.inf]} remain correct at {size(found.grid[-1])}",
            *constant_classifier(found.labels, found.before),
            *told.notes,
        ],
        picture=partial(_draw_curve, points, found.fallen, f"{told.attack} on {told.on(len(names))}"),
    )  # fmt: skip


def _summary(clean: Proportion, robust: Proportion, told: Told) -> str:
    if told.attack == "clean":
        return f"Clean accuracy {clean.value:.1%} (95 % {interval(clean, 1)}) of {clean.n} images."
    rate = f"{robust.value:.1%} (95 % {interval(robust, 1)})"
    robustness = f"Robust accuracy under {told.strength}: {rate} of {robust.n} images"
    return f"{robustness}; clean accuracy {clean.value:.1%}."


def _rates(rates: Mapping[str, Proportion]) -> pd.DataFrame:
    rows = [(name, f"{r.hits}/{r.n}", f"{r.value:.2%}", interval(r)) for name, r in rates.items()]
    return pd.DataFrame(rows, columns=["measure", "count", "rate", "95 % interval"])


def _diagnostic(read: Sequence[Diagnostic], *, clean: bool) -> pd.DataFrame:
    rows = {
        "measure": [one.measure for one in read],
        "class": [one.of for one in read],
        "before": [_estimate(one.before, one.measure) for one in read],
        "after": [_estimate(one.after, one.measure) for one in read],
    }
    return pd.DataFrame(rows).drop(columns=["after"] if clean else [])


def _estimate(one: Estimate, measure: str) -> str:
    """ "93.1% [84.8, 97.0]", of an area or an error "0.931 [0.848, 0.970]"."""
    if math.isnan(one.value):
        return DASH
    share = measure not in ("AUROC", "calibration error")
    value = f"{one.value:.1%}" if share else f"{one.value:.3f}"
    if math.isnan(one.low):
        return f"{value} [{DASH}]"
    ends = [f"{100 * end:.1f}" if share else f"{end:.3f}" for end in (one.low, one.high)]
    return f"{value} [{ends[0]}, {ends[1]}]"


def _bins(outcome: Evaluation, when: str) -> list[Any]:
    answers, scores = getattr(outcome, when), getattr(outcome, f"scores_{when}")
    return reliability(scores.max(1).astype(np.float64).tolist(), (answers == outcome.labels).tolist())


def _reliability(bins: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    rows = [
        (when, f"{one.low:.0%} to {one.high:.0%}", str(one.n), f"{one.confidence:.1%}", f"{one.right:.1%}")
        for when, held in bins.items()
        for one in held
    ]
    return pd.DataFrame(rows, columns=["when", "bin", "images", "mean confidence", "right"])


def _draw_reliability(bins: Mapping[str, Sequence[Any]], title: str) -> Any:
    from meddef.figures.evaluated import reliability_diagram

    return reliability_diagram(bins["before"], bins["after"], title)


def _draw_curve(points: Sequence[tuple[float, Proportion]], fallen: Mapping[float, int], title: str) -> Any:
    from meddef.figures.evaluated import robustness_curve

    return robustness_curve(points, fallen, title)
