"""The paper's Table 5: other defences as printed, what each metric is, and ours beside the paper's. No torch here."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

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


def full_pgd(report: Report, dataset: Dataset) -> pd.DataFrame:
    """``Report.attacks`` of the full model under PGD, a row an ε and pruning rate; unpruned of all seeds there are."""
    frames = [report.attacks(grid, dataset.name) for grid in ("epsilon", "pruning")]
    full = "variant == 'full' and training == 'adversarial' and attack == 'pgd'"
    rows = pd.concat([frame.query(full) for frame in frames if len(frame)] or frames)
    return rows.drop_duplicates(["prune_rate", "eps"]).sort_values(["eps", "prune_rate"], ignore_index=True)


def _full_pgd(report: Report, dataset: Dataset) -> str:
    lines = []
    for eps, found in full_pgd(report, dataset).groupby("eps"):
        start, *pruned = found.to_dict("records")
        value = percent(start, "asr").replace("\n", " ")
        several = f", {start['seeds']} seeds" if start["seeds"] > 1 else ""
        lines.append(
            f"ε {eps:g}, {100 * start['prune_rate']:.0f} % pruned: {value}, n = {start['right']}{several}"
        )
        if pruned:
            low, high = (end(row["asr"] for row in pruned) for end in (min, max))
            lines.append(f"ε {eps:g}, pruned further: {low:.1f} to {high:.1f}, n = {_range(pruned)}")
    return "\n".join([dataset.label, *lines]) if lines else ""


def _range(rows: list[dict[Hashable, Any]]) -> str:
    """ "97", or "61 to 99": how many images were right before the attack at the rates of ``rows``."""
    sizes = [int(size) for row in rows for size in str(row["right"]).split(" to ")]
    return f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
