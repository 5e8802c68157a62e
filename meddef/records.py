"""Records: measured results, one JSON object per row, and their storage.

A *cell* of the plan writes one file ``cells/<key>.json`` atomically, so a killed run loses at most the cells in
progress and parallel workers never share a file. ``export`` gathers the cells of a plan into ``records.jsonl`` (the
measurements: the same for the same inputs, bit for bit) and ``provenance.jsonl`` (when, where and with what each cell
was computed; shared circumstances are a separate row to which cells refer).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.atomic import write_text
from meddef.errors import InputError
from meddef.statistics import AttackCounts

Record = dict[str, Any]
CLASS_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""How records write a class, one character per image: 0 to 9, then a to z."""
OF_THE_CELL = ("key", "seconds", "finished", "weights")  # the rest of its provenance it shares with others
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellResult:
    """The outcome of one cell: its records, their provenance, and the content of the key."""

    key: str
    records: list[Record]
    provenance: Record
    cell: Record = field(default_factory=dict)


class RecordStore:
    """The cells computed so far in one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"

    def get(self, key: str) -> CellResult | None:
        """The result under ``key``; None if it is missing or damaged (which is logged)."""
        path = self.cells / f"{key}.json"
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            body = content["body"]
            if content["sha256"] != _digest(body):
                raise ValueError("its checksum does not match")
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged (%s): the cell will be computed again", path, error)
            return None
        return CellResult(key, body["records"], body["provenance"], body.get("cell", {}))

    def put(self, result: CellResult) -> None:
        """Store ``result`` atomically."""
        body = {"records": result.records, "provenance": result.provenance, "cell": result.cell}
        write_text(self.cells / f"{result.key}.json", json.dumps({"sha256": _digest(body), "body": body}))

    def forget(self, key: str) -> None:
        """Remove the result under ``key``, if any."""
        (self.cells / f"{key}.json").unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """Of every cell file, whole or damaged, in order."""
        return sorted(path.stem for path in self.cells.glob("*.json"))

    def adopt(self, folder: Path) -> int:
        """Import the cells exported to ``folder`` that are missing here; returns how many.

        Raises:
            InputError: nothing was exported there, or a line is not JSON.
        """
        by_key: dict[str, list[Record]] = {}
        for record in _read_rows(folder.parent, folder.name, "records"):
            by_key.setdefault(record["key"], []).append(_without_key(record))
        circumstances = {row["key"]: row for row in load_provenance(folder.parent, folder.name)}
        new = [key for key in by_key if self.get(key) is None and key in circumstances]
        for key in new:
            self.put(CellResult(key, by_key[key], _without_key(circumstances[key])))
        return len(new)

    def collect(self, keys: Iterable[str]) -> list[Record]:
        """The records of those of ``keys`` that are done, each with its cell's key, in the order of the keys."""
        results = [result for key in keys if (result := self.get(key))]
        return [{"key": result.key, **record} for result in results for record in result.records]

    def export(self, keys: Iterable[str]) -> list[Record]:
        """Write records.jsonl and provenance.jsonl for those of ``keys`` that are done; returns the records."""
        ordered = sorted(set(keys))
        records = self.collect(ordered)
        results = [result for key in ordered if (result := self.get(key))]
        provenance = [{"key": result.key, **result.provenance} for result in results]
        for name, rows in (("records", records), ("provenance", _grouped(provenance))):
            text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
            path = self.folder / f"{name}.jsonl"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
        return records


def _without_key(row: Record) -> Record:
    return {name: value for name, value in row.items() if name != "key"}


def _digest(body: Record) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def load_records(results_dir: str | Path, profile: str, *, kind: str | None = None) -> list[Record]:
    """The exported records of ``profile`` under ``results_dir``, optionally of one kind.

    Kinds: "data" (a dataset), "train" (a trained model), "attack" (an attack on a model), "saliency", "probe" (of a
    model, or of the images of a dataset: ``meddef.probes``).

    Raises:
        InputError: nothing was exported there, or a line is not JSON.
    """
    return [row for row in _read_rows(results_dir, profile, "records") if kind in (None, row["kind"])]


def load_provenance(results_dir: str | Path, profile: str) -> list[Record]:
    """Circumstances of each cell: git commit, versions, hardware, seconds."""
    shared: dict[int, Record] = {}
    cells = []
    for row in _read_rows(results_dir, profile, "provenance"):
        common = row.pop("circumstances", None)
        if "key" in row:
            cells.append({**shared.get(common, {}), **row})
        else:
            shared[common] = row
    return cells


def _grouped(provenance: Iterable[Record]) -> list[Record]:
    """The rows of ``provenance.jsonl``: before the first cell of each circumstances, these, under a number."""
    rows: list[Record] = []
    numbers: dict[str, int] = {}
    for row in provenance:
        common = {name: value for name, value in row.items() if name not in OF_THE_CELL}
        digest = _digest(common)
        if digest not in numbers:
            numbers[digest] = len(numbers)
            rows.append({"circumstances": numbers[digest], **common})
        own = {name: row[name] for name in OF_THE_CELL if name in row}
        rows.append({"circumstances": numbers[digest], **own})
    return rows


def _read_rows(results_dir: str | Path, profile: str, name: str) -> list[Record]:
    path = Path(results_dir) / profile / f"{name}.jsonl"
    if not path.is_file():
        raise InputError(
            f"no {name} of profile '{profile}' at {path}: run 'meddef reproduce --profile {profile}' first"
        )
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise InputError(
                f"{path}, line {number} is not JSON: restore the file or reproduce it"
            ) from error
    return rows


def attack_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Attack records as a tidy table: counts, rates in [0, 1] and their 95 % Wilson intervals.

    Columns beside those of the record: ``clean``, ``robust``, ``asr`` with ``_low`` and ``_high``.
    """
    rows = []
    for record in records:
        if record["kind"] != "attack":
            continue
        counts = AttackCounts(
            record["n"], record["correct_before"], record["correct_after"], record["flipped"]
        )
        row = dict(record)
        for name, rate in (
            ("clean", counts.clean_accuracy),
            ("robust", counts.robust_accuracy),
            ("asr", counts.asr),
        ):
            row[name] = rate.value
            row[f"{name}_low"], row[f"{name}_high"] = rate.interval
        rows.append(row)
    return pd.DataFrame(rows)
