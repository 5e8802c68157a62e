"""The computed part of the page of definitions: false positives and power of the test."""

from __future__ import annotations

from collections.abc import Sequence

from meddef.report import null, power
from meddef.report.report import Report

NONE = "No stored profile has three trainings of each model, so this cannot be computed.\n"


def definitions_page(reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: from the first profile that has enough trainings."""
    for report in reports:
        if (table := null.table(report)) is not None:
            tables = (table, power.table(report))
            names = ("null.md", "power.md")
            shown = {name: f"{each._repr_html_()}\n" for name, each in zip(names, tables, strict=True)}
            return shown | {"power_sentence.md": f"{power.sentence(report)}\n"}
    return dict.fromkeys(("null.md", "power.md", "power_sentence.md"), NONE)
