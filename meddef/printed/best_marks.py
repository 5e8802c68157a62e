"""Bold marks against the captions: the highest accuracy, the lowest ASR, within each group."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pandas as pd

from meddef.paper import VARIANT_LABELS
from meddef.printed.finding import Finding, verdict_of
from meddef.printed.published import EPSILON_TABLE, Published


def groups(published: Published) -> Iterator[Finding]:
    """One finding for each attack within each ε (Tables 1 and 2) and within each pruning rate (Tables 3 and 4)."""
    for exhibit in ("table1", "table2", "table3", "table4"):
        yield from of_table(published, exhibit)


def of_table(published: Published, exhibit: str) -> Iterator[Finding]:
    """The groups of one table."""
    highest = exhibit in EPSILON_TABLE.values()
    table = published.epsilon if highest else published.compression
    level = "eps" if highest else "prune_rate"
    for (value, attack), group in table[table["exhibit"] == exhibit].groupby([level, "attack"], sort=False):
        yield _group(
            exhibit, f"{value:.2f}" if highest else f"{value:.1f}", str(attack), group, highest=highest
        )


def _best(group: pd.DataFrame, highest: bool) -> set[str]:
    values = [Decimal(printed) for printed in group["printed"]]
    best = max(values) if highest else min(values)
    return {variant for variant, value in zip(group["variant"], values, strict=True) if value == best}


def _names(variants: set[str], group: pd.DataFrame) -> str:
    printed = group.set_index("variant")["printed"]
    return ", ".join(f"{VARIANT_LABELS[v]} ({printed[v]})" for v in VARIANT_LABELS if v in variants) or "none"


def _group(exhibit: str, level: str, attack: str, group: pd.DataFrame, *, highest: bool) -> Finding:
    marked = set(group[group["bold"]]["variant"])
    best = _best(group, highest)
    detail = (
        f"{attack}, {'ε' if highest else 'prune rate'} {level}: bold is {_names(marked, group)}; "
        f"{'highest' if highest else 'lowest'} is {_names(best, group)}."
    )
    if marked != best:
        defended = group[group["variant"] != "resnet18"]
        without = marked == _best(defended, highest)
        detail += f" Marks among the MedDef variants only would {'also' if without else 'not'} explain it."
    id_ = f"bold:{exhibit}:{level}:{attack}"
    return Finding(id_, "consistency", exhibit, None, None, verdict_of(marked == best), detail)
