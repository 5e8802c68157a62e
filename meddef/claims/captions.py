"""Bounds of captions and text on ASR over pruning rates, beside the measured range."""

from __future__ import annotations

import pandas as pd

from meddef import paper
from meddef.catalogue import usual_training
from meddef.claims.entries import bounds
from meddef.claims.model import Bound
from meddef.report.display import DASH, Table, place
from meddef.report.labels import short_label
from meddef.report.report import Report, at_epsilon


def caption_claims(report: Report) -> Table:
    """Statements of captions and text on attack success rates over pruning rates, and the measured range at that ε."""
    frame = at_epsilon(report.attacks("pruning"), paper.PROTOCOL["attacks"]["pgd"]["eps"])
    rows = []
    for dataset in report.datasets:
        for claim, bound in bounds("asr"):
            (variant,) = bound.variants
            ours = frame[
                (frame["dataset"] == dataset.name)
                & (frame["variant"] == variant)
                & (frame["training"] == usual_training(variant))
                & frame["attack"].isin(bound.attacks)
                & frame["prune_rate"].isin(bound.rates)
            ]
            if ours.empty or dataset.twin not in bound.datasets:
                continue
            rows.append(
                {
                    "dataset": dataset.label,
                    "where": place(claim.section),
                    "model": short_label(variant, usual_training(variant)),
                    "the paper": claim.quote,
                    "measured ASR (%)": f"{ours['asr'].min():.1f} to {ours['asr'].max():.1f}",
                    "within": within(bound, ours["asr"]),
                }
            )
    return Table(
        pd.DataFrame(rows),
        "Bounds on ASR over pruning rates, stated in captions and text, and the measured range.",
        header=3,
        left=("the paper",),
    )


def within(bound: Bound, values: pd.Series) -> str:
    """How many of ``values`` (percent) lie within a claim's bounds: "12 of 36"; a dash without bounds."""
    if not isinstance(bound.low, float) and not isinstance(bound.high, float):
        return DASH
    inside = values.between(
        bound.low if isinstance(bound.low, float) else -1.0,
        bound.high if isinstance(bound.high, float) else 101.0,
        inclusive="neither" if bound.strict else "both",
    )
    return f"{int(inside.sum())} of {len(values)}"
