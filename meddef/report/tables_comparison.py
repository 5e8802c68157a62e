"""The paper's Table 5: other defences as printed, what each metric is, and ours beside the paper's."""

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
        "Other defences as printed in the paper's Table 5. Rows of different quantities cannot be ranked; rows of the "
        "same quantity were measured on other images, with another or an unstated ε. Along the pruning rate all "
        "points come from the pruning grid, whose PGD has fewer steps and images than the strongest one."
    )
    return Table(pd.DataFrame(rows), caption, left=columns)


def _quantity(metric: str) -> str:
    """The kind of quantity of a printed metric."""
    kinds = {
        "ASR": "attack success rate of PGD",
        "pruning": "share pruned without loss; a correlation",
        "accuracy": "accuracy, before and after an attack",
    }
    numbers = any(character.isdigit() for character in metric)
    return next((kind for word, kind in kinds.items() if numbers and word in metric), "no number")


def full_pgd(report: Report, dataset: Dataset, grid: str = "epsilon") -> pd.DataFrame:
    """``Report.attacks`` of the full model under PGD, one row per ε and pruning rate: of the grid of ε as its strongest
    record has it and of all seeds there are, along the pruning rate of "pruning" alone."""
    rows = report.attacks(grid, dataset.name)
    full = rows.query("variant == 'full' and training == 'adversarial' and attack == 'pgd'")
    return full.sort_values(["eps", "prune_rate"], ignore_index=True)


def _full_pgd(report: Report, dataset: Dataset) -> str:
    lines = []
    unpruned, pruning = (full_pgd(report, dataset, grid) for grid in ("epsilon", "pruning"))
    for eps in sorted({*pruning["eps"]}):
        for row in unpruned[unpruned["eps"] == eps].to_dict("records"):
            several = f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
            lines.append(f"ε {eps:g}, unpruned, strongest PGD: {_value(row)}{several}")
        along = pruning[pruning["eps"] == eps]
        start, further = along[along["prune_rate"] == 0], along[along["prune_rate"] > 0].to_dict("records")
        lines += [f"ε {eps:g}, pruning grid, 0 %: {_value(row)}" for row in start.to_dict("records")]
        if further:
            low, high = (end(row["asr"] for row in further) for end in (min, max))
            lines.append(f"ε {eps:g}, pruning grid, pruned: {low:.1f} to {high:.1f}, n = {_range(further)}")
    return "\n".join([dataset.label, *lines]) if lines else ""


def _value(row: dict[Hashable, Any]) -> str:
    value = percent(row, "asr").replace("\n", " ")
    return f"{value}, n = {row['right']}"


def _range(rows: list[dict[Hashable, Any]]) -> str:
    """ "97", or "61 to 99": how many images were correct before the attack at the rates of ``rows``."""
    sizes = [int(size) for row in rows for size in str(row["right"]).split(" to ")]
    return f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
