"""The paper's Table 5: other defences as printed, what each metric is, and ours beside the paper's. No torch here."""

from __future__ import annotations

import pandas as pd

from meddef import paper
from meddef.report.display import DASH, Table, percent
from meddef.report.report import Dataset, Report


def comparison(report: Report) -> Table:
    """Table 5 as printed; beside the paper's own rows the full model's measured PGD success rate, over pruning."""
    rows = []
    for row in paper.comparison_table().to_dict("records"):
        twin = {"MedDef (ROCT)": "roct", "MedDef (Chest X-Ray)": "chest_xray"}.get(row["method"])
        rows.append(
            {
                "method": f"{row['method']} ({row['year']})",
                "defence": row["defense_strategy"],
                "dataset": row["dataset"],
                "metric, as printed": row["performance_metric"],
                "which is": _quantity(row["performance_metric"]),
                "measured here: PGD ASR": "\n".join(
                    _full_pgd(report, d) for d in report.datasets if d.twin == twin
                )
                or DASH,
            }
        )
    columns = ("defence", "dataset", "metric, as printed", "which is", "measured here: PGD ASR")
    caption = (
        "Other defences, as the paper's Table 5 prints them. Rows of different quantities cannot be ranked; rows of "
        "the same one were measured on other images, with another ε or one that is not printed."
    )
    return Table(pd.DataFrame(rows), caption, left=columns)


def _quantity(metric: str) -> str:
    """What kind of quantity a printed metric is."""
    kinds = {
        "ASR": "attack success rate of PGD",
        "pruning": "share pruned without harm; a correlation",
        "accuracy": "accuracy, before and after an attack",
    }
    numbers = any(character.isdigit() for character in metric)
    return next((kind for word, kind in kinds.items() if numbers and word in metric), "no number")


def _full_pgd(report: Report, dataset: Dataset) -> str:
    frame = report.attacks("pruning", dataset.name)
    rows = frame.query("variant == 'full' and training == 'adversarial' and attack == 'pgd'")
    lines = []
    for eps, found in rows.groupby("eps"):
        start = min(found.to_dict("records"), key=lambda row: row["prune_rate"])
        value = percent(start, "asr").replace("\n", " ")
        lines.append(f"ε {eps:g}, {100 * start['prune_rate']:.0f} % pruned: {value}, n = {start['right']}")
        lines.append(f"ε {eps:g}, over all rates: {found['asr'].min():.1f} to {found['asr'].max():.1f}")
    return "\n".join([dataset.label, *lines]) if lines else ""
