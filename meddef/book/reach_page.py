"""The laboratory's example from real life: this project's first edition, beside models trained with full reach."""

from collections.abc import Sequence

from meddef.report import reach
from meddef.report.report import Report


def reach_page(reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``."""
    table = reach.table(reports)
    return {"lab_reach.md": f"{reach.NOTHING if table is None else table._repr_html_()}\n"}
