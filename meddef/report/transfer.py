"""Whether images attacked on one model fool another: source by target.

from meddef.report import transfer
transfer.table(report, 8 / 255)
"""

from __future__ import annotations

import pandas as pd

from meddef.records import Record
from meddef.report.defenses import rate_cell
from meddef.report.display import Table, budget, seeds_note
from meddef.report.labels import attack_name, short_label
from meddef.report.rates import mean_interval
from meddef.report.report import Report

Model = tuple[str, str]  # variant, training


def matrix(report: Report, dataset: str, eps: float) -> dict[tuple[str, Model, Model], dict[int, Record]]:
    """(attack, source, target) -> seed -> record, of attacks at ``eps``; source and target are of the same seed."""
    found: dict[tuple[str, Model, Model], dict[int, Record]] = {}
    for record in report.of("transfer", dataset):
        if record["eps"] == eps:
            source = record["source"], record["source_training"]
            target = record["variant"], record["training"]
            found.setdefault((record["attack"], source, target), {})[record["seed"]] = record
    return found


def budgets(report: Report) -> list[float]:
    """Every ε that transfer was measured at."""
    return sorted({record["eps"] for record in report.of("transfer")})


def table(report: Report, eps: float) -> Table:
    """Accuracy of each target, a column, on images attacked on each source, a row; on the diagonal both are one."""
    rows, seeds = [], []
    for dataset in report.datasets:
        cells = matrix(report, dataset.name, eps)
        models = [m for m in report.models(dataset.name) if any(m in key[1:] for key in cells)]
        for attack in dict.fromkeys(key[0] for key in cells):
            clean = {t: next(r for (_, _, target), r in cells.items() if target == t) for t in models}
            named = {"dataset": f"{dataset.label}, {attack_name(attack)}"}
            rows.append(
                {**named, "attacked on": "nothing"}
                | {short_label(*t): rate_cell(mean_interval(clean[t], "clean")) for t in models}
            )
            for source in models:
                row = {**named, "attacked on": short_label(*source)}
                for target in models:
                    records = cells.get((attack, source, target), {})
                    seeds.append(len(records))
                    row[short_label(*target)] = rate_cell(mean_interval(records, "robust"))
                rows.append(row)
    caption = (
        "Accuracy in percent, with its 95 % interval, of the target model (column) on images attacked at ε = "
        f"{budget(eps)} on the source model (row). On the diagonal the attack is white-box, elsewhere a black-box "
        f"transfer attack.{seeds_note(seeds)}"
    )
    return Table(pd.DataFrame(rows), caption, header=2)
