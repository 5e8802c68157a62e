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
    path = root / PLACE / "robustness.jsonl"
    if not path.is_file():
        return {"robustness.md": f"{NOTHING}\n"}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    parts = [
        part
        for dataset in dict.fromkeys(record["dataset"] for record in records)
        for part in (
            f"## {dataset}",
            verdicts(records, dataset)._repr_html_(),
            failures(records, dataset)._repr_html_(),
        )
    ]
    return {"robustness.md": "\n\n".join([sources(records)._repr_html_(), *parts]) + "\n"}


def sources(records: list[Record]) -> Table:
    """Every item: who asks for it and what else would explain a FAIL."""
    items = {r["name"]: r for r in records}.values()
    rows = [{"item": r["name"], "source": r["source"], "also explains a FAIL": r["also"]} for r in items]
    return Table(pd.DataFrame(rows), "The items.", left=("source", "also explains a FAIL"))


def verdicts(records: list[Record], dataset: str) -> Table:
    """One row an item, one column a model; PASS is a dot, so that the rest stands out."""
    own = [r for r in records if r["dataset"] == dataset]
    models = list(dict.fromkeys(r["model"] for r in own))
    verdict = {(r["name"], r["model"]): r["verdict"] for r in own}
    names = dict.fromkeys(r["name"] for r in own)
    rows = [{"item": name} | {m: verdict[name, m].replace("PASS", "·") for m in models} for name in names]
    return Table(pd.DataFrame(rows), f"{dataset}, ε = {own[0]['eps']:g}: · is PASS.")


def failures(records: list[Record], dataset: str) -> Table:
    """The numbers behind every FAIL."""
    rows = [
        {"model": r["model"], "item": r["name"], "what was measured": r["detail"]}
        for r in records
        if r["dataset"] == dataset and r["verdict"] == "FAIL"
    ]
    return Table(pd.DataFrame(rows), "What failed, and by how much.", header=2, left=("what was measured",))
