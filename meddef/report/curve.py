"""Long trainings: the weights of the best epoch beside those of the last (robust overfitting)."""

from __future__ import annotations

import pandas as pd
from scipy.stats import binomtest

from meddef.records import Record
from meddef.report.display import Table, Text
from meddef.report.labels import short_label
from meddef.report.report import Report

NONE = "This profile has no long training that is evaluated on test images along the way; `cpu` has two."


def points(report: Report) -> pd.DataFrame:
    """One row per long training and look: epochs done, test accuracy in percent on clean images and under PGD."""
    rows = []
    for record in report.of("curve"):
        head = {name: record[name] for name in ("dataset", "variant", "training", "seed")}
        rows += [
            {
                **head,
                "epochs": point["epochs"],
                "clean": _share(record, point, "before"),
                "robust": _share(record, point, "after"),
            }
            for point in record["points"]
        ]
    return pd.DataFrame(rows)


def table(report: Report) -> Table | Text:
    """Test accuracy at the best epoch, which validation images chose, and at the last."""
    records = report.of("curve")
    if not records:
        return Text(NONE)
    rows = []
    for record in records:
        last = record["points"][-1]
        row = {"model": short_label(record["variant"], record["training"]), "seed": str(record["seed"])}
        for name, point, epoch in (
            ("best", record["best"], record["best_epoch"] + 1),
            ("last", last, last["epochs"]),
        ):
            row |= {
                f"{name} epoch": str(epoch),
                f"{name}: clean": f"{_share(record, point, 'before'):.1f}",
                f"{name}: robust": f"{_share(record, point, 'after'):.1f}",
            }
        lost, won, p = _paired(record)
        rows.append(row | {"images lost, won": f"{lost}, {won}", "p": f"{p:.2g}"})
    look, n = records[0]["look"], records[0]["n"]
    caption = (
        f"Trained adversarially for {records[0]['epochs']} epochs. Accuracy (%) on {n} test images, clean and under "
        f"PGD ({look['steps']} steps, ε = {look['eps']:.3g}). Lost, won: images that are correct under PGD at the "
        "best epoch only, at the last only; p: exact McNemar, between two sets of weights of one training."
    )
    return Table(pd.DataFrame(rows), caption)


def verdict(report: Report) -> Text:
    """Whether robustness was lost after the best epoch, in a sentence per training."""
    sentences = []
    for record in report.of("curve"):
        lost, won, p = _paired(record)
        name = f"{short_label(record['variant'], record['training'])}, seed {record['seed']}"
        since = f"between epoch {record['best_epoch'] + 1} and the last"
        best, last = (_share(record, point, "after") for point in (record["best"], record["points"][-1]))
        moved = "loses" if lost > won else "gains"
        told = (
            f"{moved} {abs(best - last):.1f} points of robust accuracy {since}"
            if p < 0.05
            else f"shows no clear difference {since}"
        )
        sentences.append(f"- {name}: {told} ({best:.1f} % and {last:.1f} %, p = {p:.2g}).")
    return Text("\n".join(sentences) or NONE)


def _right(record: Record, point: Record, which: str) -> list[bool]:
    return [said == label for said, label in zip(point[which], record["labels"], strict=True)]


def _share(record: Record, point: Record, which: str) -> float:
    return 100 * sum(_right(record, point, which)) / record["n"]


def _paired(record: Record) -> tuple[int, int, float]:
    """Images correct under attack at the best epoch only, at the last only, and the exact McNemar p."""
    best, last = (_right(record, point, "after") for point in (record["best"], record["points"][-1]))
    lost = sum(a and not b for a, b in zip(best, last, strict=True))
    won = sum(b and not a for a, b in zip(best, last, strict=True))
    return lost, won, float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
