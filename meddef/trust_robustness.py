"""The chapter on robustness reports: which item each sound and each broken model passes. No torch here."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from meddef.audit.lab.tables import PLACE
from meddef.display import Table
from meddef.records import Record
from meddef.trust_laboratory import NOTHING


def robustness_page(root: Path) -> dict[str, str]:
    """File name -> content; a sentence where there are no records."""
    files = sorted((root / PLACE).glob("robustness*.jsonl"))
    records = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    if not records:
        return {"robustness.md": f"{NOTHING}\n"}
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(f"{record['dataset']}, {record['source_of_models']}", []).append(record)
    parts = [
        part
        for title, own in groups.items()
        for part in (f"## {title}", verdicts(own)._repr_html_(), failures(own))
    ]
    return {"robustness.md": "\n\n".join([sources(records)._repr_html_(), *parts]) + "\n"}


def sources(records: list[Record]) -> Table:
    """Every item: who asks for it and what else would explain a FAIL."""
    items = {r["name"]: r for r in records}.values()
    rows = [{"item": r["name"], "source": r["source"], "also explains a FAIL": r["also"]} for r in items]
    return Table(pd.DataFrame(rows), "The items.", left=("source", "also explains a FAIL"))


def verdicts(records: list[Record]) -> Table:
    """One row an item, one column a model; PASS is a dot, so that the rest stands out."""
    models = list(dict.fromkeys(record["model"] for record in records))
    verdict = {(record["name"], record["model"]): record["verdict"] for record in records}
    names = dict.fromkeys(record["name"] for record in records)
    rows = [{"item": name} | {m: verdict[name, m].replace("PASS", "·") for m in models} for name in names]
    return Table(pd.DataFrame(rows), f"ε = {records[0]['eps']:g}: · is PASS.")


def failures(records: list[Record]) -> str:
    """The numbers behind every FAIL, as a table."""
    rows = [
        {"model": record["model"], "item": record["name"], "what was measured": record["detail"]}
        for record in records
        if record["verdict"] == "FAIL"
    ]
    if not rows:
        return "Nothing failed."
    table = Table(pd.DataFrame(rows), "What failed, and by how much.", header=2, left=("what was measured",))
    return table._repr_html_()
