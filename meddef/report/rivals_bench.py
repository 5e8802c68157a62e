"""Rivals of the paper's recipe on small runs: speed side by side, and what their sources report of them.

Rows of ``results/bench/rivals.json``, which ``python -m tests.bench.bench_rivals`` makes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from meddef.records import Record
from meddef.report.display import DASH, Table, Text
from meddef.report.labels import METHOD_NAMES, training_label
from meddef.report.report import Report

NONE = "No measurement is stored: run `python -m tests.bench.bench_rivals`."
MOST = 2.5  # times the time of clean training that Fast-AT may take
COLLAPSED = 20.0  # points of FGSM's accuracy that PGD takes away: such a model resists FGSM and not its like


def _rows(report: Report, part: str) -> tuple[list[Record], str]:
    """Rows of one part and their hardware; none if nothing is stored."""
    bench = report.bench("rivals")
    if bench is None:
        return [], ""
    return [row for row in bench.records if row["part"] == part], bench.provenance[0]["hardware"]["cpu"]


def speed(report: Report) -> Table | Text:
    """Training speed of each method beside clean training, and what a step of its attack costs."""
    rows, cpu = _rows(report, "speed")
    if not rows:
        return Text(NONE)
    clean = next(row for row in rows if row["training"] == "clean")
    frame = pd.DataFrame(
        {
            "training": [_name(row["training"]) for row in rows],
            "images/s": [f"{row['images_per_s']:.1f}" for row in rows],
            "ms per image and further attack step": [
                DASH if row["attack_ms"] is None else f"{row['attack_ms']:.2f}" for row in rows
            ],
            "s per epoch": [f"{row['epoch_s']:.0f}" for row in rows],
            "times clean training": [f"{row['epoch_s'] / clean['epoch_s']:.1f}" for row in rows],
        }
    )
    fast = next(row for row in rows if row["training"] == "fast")["epoch_s"] / clean["epoch_s"]
    caption = (
        f"ResNet18 at 64 px, trained as the rivals are, one thread of {cpu}, medians of alternating runs, CPU seconds. "
        "An epoch is one pass over the chest X-rays, including validation, the same for all methods that attack. "
        f"Fast-AT takes {fast:.1f} times as long as clean training; the target was at most {MOST:g}."
    )
    return Table(frame, caption)


def properties(report: Report) -> Table | Text:
    """Means over seeds of the small runs, one row per training and ε."""
    rows, _ = _rows(report, "property")
    if not rows:
        return Text(NONE)
    groups: dict[tuple[str, float], list[Record]] = {}
    for row in rows:
        groups.setdefault((row["training"], row["eps"]), []).append(row)
    found = []
    for (training, eps), own in groups.items():
        cells = {name: _mean(own, name) for name in ("clean", "fgsm", "pgd")}
        found.append(
            {
                "ε": f"{eps:g}",
                "training": _name(training),
                "no attack": cells["clean"],
                "FGSM": cells["fgsm"],
                "PGD": cells["pgd"],
            }
        )
    frame = pd.DataFrame(found).sort_values("ε", kind="stable", ignore_index=True)
    caption = (
        f"Accuracy in percent on {rows[0]['n']} images of bars of light, after the last epoch; means over "
        f"{len({row['seed'] for row in rows})} seeds, the range in brackets. {findings(rows)}"
    )
    return Table(frame, caption, header=2)


def findings(rows: Sequence[Record]) -> str:
    """Two sentences on each source's property, computed from the small runs."""
    sentences = []
    fast = [row for row in rows if row["training"].startswith("fast")]
    if tried := sorted({row["eps"] for row in fast}):
        found = {
            start: [eps for eps in tried if _gap(_runs(fast, eps, start)) >= COLLAPSED]
            for start in (False, True)
        }
        sentences.append(
            f"Fast-AT overfits catastrophically (PGD keeps at least {COLLAPSED:.0f} points less than FGSM) without a "
            f"random start {_where(found[False])}, with one {_where(found[True])}, of ε = {_eps(tried)}."
        )
    trades: dict[float, list[Record]] = {}
    for row in rows:
        if row["training"].startswith("trades"):
            trades.setdefault(_beta(row["training"]), []).append(row)
    if len(trades) > 1:
        low, high = min(trades), max(trades)
        change = {n: 100 * (_value(trades[high], n) - _value(trades[low], n)) for n in ("clean", "pgd")}
        sentences.append(
            f"TRADES from β = {low:g} to {high:g}: {change['clean']:+.1f} points of clean accuracy, "
            f"{change['pgd']:+.1f} under PGD."
        )
    return " ".join(sentences)


def _runs(fast: Sequence[Record], eps: float, start: bool) -> list[Record]:
    """Fast-AT at ``eps``, with its random start or without."""
    return [row for row in fast if row["eps"] == eps and ("random_start=0" in row["training"]) != start]


def _where(eps: Sequence[float]) -> str:
    return f"at ε = {_eps(eps)}" if eps else "at none"


def _eps(eps: Sequence[float]) -> str:
    return ", ".join(f"{each:g}" for each in eps)


def _name(training: str) -> str:
    """ "the paper's recipe", "Fast-AT, no random start", "TRADES, β = 6"; ε has its own column."""
    if training == "adversarial":
        return "the paper's recipe"
    method, *others = training.split(" ")
    if method not in METHOD_NAMES:
        return training_label(training)
    told = [METHOD_NAMES[method]] + ["no random start"] * ("random_start=0" in others)
    return ", ".join(told + ([f"β = {_beta(training):g}"] if method == "trades" else []))


def _beta(training: str) -> float:
    given = [part.removeprefix("beta=") for part in training.split(" ") if part.startswith("beta=")]
    return float(given[0]) if given else 6.0


def _value(rows: Sequence[Record], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def _gap(rows: Sequence[Record]) -> float:
    return 100 * (_value(rows, "fgsm") - _value(rows, "pgd"))


def _mean(rows: Sequence[Record], name: str) -> str:
    values = [100 * row[name] for row in rows]
    return f"{sum(values) / len(values):.1f}\n[{min(values):.1f}, {max(values):.1f}]"
