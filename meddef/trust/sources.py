"""The sources of the figures on trust: the paper's values and the laboratory's records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from meddef.figures.pages import Source, digests, printed
from meddef.laboratory.tables import LABORATORY, PLACE, is_drawn
from meddef.records import Record

PAPER = Source(printed("epsilon_table.csv", "protocol.yaml"), "meddef audit --format csv")
OTHER = {
    "tables": "robustness of",
    "robustness": "tables of",
}  # a part of the run that a figure has nothing from


def name_of(record: Record) -> str:
    """Suffix of its file name: the dataset, or the profile whose models were tested."""
    models = record.get("source_of_models", LABORATORY)
    return str(record["dataset"] if models == LABORATORY else models.removeprefix("profile "))


def of_laboratory(root: Path, kind: str, records: Sequence[Record]) -> Source:
    """Files and provenance of ``records`` of one kind, "tables" or "robustness"."""
    names = list(dict.fromkeys(map(name_of, records)))
    folder = root / PLACE
    rows = [
        json.loads(line)
        for name in names
        for line in (folder / f"provenance_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    made = [row for row in rows if not row.get("part", "").startswith(OTHER[kind])]
    paths = [folder / f"{kind}_{name}.jsonl" for name in names]
    return Source(digests(root, paths), _command(records, names), made)


def _command(records: Sequence[Record], names: Sequence[str]) -> str:
    data = "" if all(is_drawn(record["dataset"]) for record in records) else " --data-dir DATA"
    first = records[0]
    if first.get("source_of_models", LABORATORY) != LABORATORY:
        return f"meddef lab --profile {names[0]} --budget {first['budget']} --eps {first['eps']:g}{data}"
    return "".join(["meddef lab", *(f" --dataset {name}" for name in names), data])
