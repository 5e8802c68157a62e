"""What a short reach did to this project's own first edition: its models beside those trained with full reach.

from meddef.report import reach
reach.table(reports)  # one row per training of a defended model on the same images at the same size
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from meddef.records import Record
from meddef.report.display import DASH, Table, budget, percent
from meddef.report.labels import model_label
from meddef.report.report import Dataset, Report

RECIPE = "adversarial"
BUDGETS = (0.015686, 0.031373, 0.05)
GRIDS = ("small_epsilon", "epsilon")
NOTHING = "No model is published yet that was trained on the same images with full reach."


def reached(train: Record) -> float:
    """Share of its ball's width that the training attack crosses at most in the last epoch, in [0, 1]."""
    last = train["history"][-1]
    share = train["settings"]["adversarial"]["steps"] * last["step_size"] / (2 * last["epsilon"])
    return 1.0 if share >= 1 - 1e-6 else float(share)


def table(reports: Sequence[Report]) -> Table | None:
    """Accuracy under PGD of the models of the paper's recipe whose training attack falls short, and of their twins.

    Twins are models of the same variant on the same dataset, split and size whose training attack crosses its whole
    ball. None if there is no such pair.
    """
    groups: dict[tuple[str, ...], list[tuple[float, dict[str, str]]]] = {}
    for report in reports:
        for dataset in report.datasets:
            for variant in dict.fromkeys(
                v for v, training in report.models(dataset.name) if training == RECIPE
            ):
                trained = [
                    r
                    for r in report.of("train", dataset.name)
                    if (r["variant"], r["training"]) == (variant, RECIPE)
                ]
                place = (
                    f"{dataset.short_label}, {dataset.px}{dataset.split}",
                    model_label(variant, RECIPE),
                )
                groups.setdefault(place, []).append(
                    (reached(trained[0]), _row(report, dataset, variant, trained))
                )
    rows = [
        {"images": place[0], "model": place[1], **row}
        for place, found in groups.items()
        if min(share for share, _ in found) < 1 <= max(share for share, _ in found)
        for _, row in sorted(found, key=lambda pair: pair[0])
    ]
    if not rows:
        return None
    caption = (
        "Accuracy in percent with its 95 % interval, clean and under PGD, of models trained by the paper's recipe: "
        "with a training attack that falls short of its ball, and with one that crosses it. Number of epochs and "
        "machine differ as well."
    )
    return Table(pd.DataFrame(rows), caption, header=3, left=("training attack",))


def _row(report: Report, dataset: Dataset, variant: str, trained: Sequence[Record]) -> dict[str, str]:
    last, rule = trained[0]["history"][-1], trained[0]["settings"]["adversarial"]
    frames = [report.attacks(grid, dataset.name) for grid in ("test", *GRIDS)]
    own = pd.concat([frame for frame in frames if len(frame)])
    own = own[(own["variant"] == variant) & (own["training"] == RECIPE)]
    clean = own[own["attack"] == "clean"]
    under = own[own["attack"] == "pgd"]
    return {
        "training attack": f"{rule['steps']} steps of {last['step_size']:.2g}, ε = {last['epsilon']:g}",
        "reach": f"{100 * reached(trained[0]):.0f} %",
        "epochs": str(trained[0]["epochs"]),
        "seeds": str(len(trained)),
        "no attack": percent(clean.iloc[0], "clean") if len(clean) else DASH,
        **{f"PGD, {budget(eps)}": _at(under, eps) for eps in BUDGETS},
    }


def _at(under: pd.DataFrame, eps: float) -> str:
    found = under[(under["eps"] - eps).abs() < 1e-6]
    return percent(found.iloc[0], "robust") if len(found) else DASH
