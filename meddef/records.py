"""Records: measured results, one JSON object per row, and their storage.

A *cell* of the plan writes one file ``cells/<key>.json`` atomically, so a killed run loses at most the cells in
progress and parallel workers never share a file. ``export`` gathers the cells of a plan into ``records.jsonl`` (the
measurements: the same for the same inputs, bit for bit) and ``provenance.jsonl`` (when, where and with what each cell
was computed; shared circumstances are a separate row to which cells refer; the first row names the profile and holds
the checksums of both files).

Everything is verified when read: a cell's file has a checksum and names its cell, an export must agree with its
checksums, its provenance and itself. Earlier versions wrote neither names nor checksums of exports; the other checks
apply to their files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.atomic import write_text
from meddef.consistency import CLASS_CHARACTERS as CLASS_CHARACTERS
from meddef.consistency import fault_of
from meddef.errors import InputError
from meddef.statistics import AttackCounts

Record = dict[str, Any]
OF_THE_CELL = ("key", "seconds", "finished", "weights", "models")
"""Of the provenance of a cell; it shares the rest with others."""
SYNC_SECONDS = 1.0
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
        self._synced = -math.inf  # when a file was last forced to the disk

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
            result = CellResult(key, body["records"], body["provenance"], body.get("cell", {}))
            if (named := body.get("key") or _key_of(result.cell)) not in (None, key):
                raise ValueError(f"it is the file of cell {named}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is damaged (%s): the cell will be computed again", path, error)
            return None
        return result

    def put(self, result: CellResult) -> None:
        """Store ``result`` atomically.

        It is forced to the disk unless another one was in the last ``SYNC_SECONDS``: of thousands written in a burst a
        power cut may leave the last ones empty, which is noticed, and they are computed again.
        """
        now = time.monotonic()
        durable = now - self._synced >= SYNC_SECONDS
        body = {
            "key": result.key,
            "records": result.records,
            "provenance": result.provenance,
            "cell": result.cell,
        }
        text = json.dumps({"sha256": _digest(body), "body": body})
        write_text(self.cells / f"{result.key}.json", text, durable=durable)
        if durable:
            self._synced = now

    def forget(self, key: str) -> None:
        """Remove the result under ``key``, if any."""
        (self.cells / f"{key}.json").unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """Of every cell file, whole or damaged, in order."""
        return sorted(path.stem for path in self.cells.glob("*.json"))

    def adopt(self, folder: Path) -> int:
        """Import the cells exported to ``folder`` that are missing here; returns how many.

        Raises:
            InputError: nothing was exported there, or it is not what was exported.
        """
        by_key: dict[str, list[Record]] = {}
        for record in load_records(folder.parent, folder.name):
            by_key.setdefault(record["key"], []).append(_without_key(record))
        circumstances = {row["key"]: row for row in load_provenance(folder.parent, folder.name)}
        new = [key for key in by_key if self.get(key) is None]
        for key in new:
            self.put(CellResult(key, by_key[key], _without_key(circumstances[key])))
        return len(new)

    def collect(self, keys: Iterable[str]) -> list[Record]:
        """The records of those of ``keys`` that are done, each with its cell's key, in the order of the keys."""
        return _records_of(result for key in keys if (result := self.get(key)))

    def export(self, keys: Iterable[str], into: Path | None = None) -> list[Record]:
        """Write records.jsonl and provenance.jsonl for those of ``keys`` that are done; returns the records.

        ``into`` is the folder to write to (by default that of the run), named after the profile.
        """
        folder = into or self.folder
        results = [result for key in sorted(set(keys)) if (result := self.get(key))]
        records = _records_of(results)
        text = _lines(records)
        made = _lines(_grouped({"key": result.key, **result.provenance} for result in results))
        head = {
            "profile": folder.name,
            "records": hashlib.sha256(text.encode()).hexdigest(),
            "provenance": hashlib.sha256(made.encode()).hexdigest(),
        }
        for name, content in (("records", text), ("provenance", _lines([{"export": head}]) + made)):
            path = folder / f"{name}.jsonl"
            if not path.is_file() or path.read_bytes() != content.encode():
                write_text(path, content)
        return records


def _records_of(results: Iterable[CellResult]) -> list[Record]:
    return [{"key": result.key, **record} for result in results for record in result.records]


def _lines(rows: Iterable[Record]) -> str:
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


def _key_of(cell: Record) -> str | None:
    """The key of a cell of a plan from what it stands for; None for what is no such cell."""
    planned = {"kind", "dataset", "settings", "needs"} == set(cell)
    return _digest(cell)[:16] if planned else None


def _without_key(row: Record) -> Record:
    return {name: value for name, value in row.items() if name != "key"}


def _digest(body: Record) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def load_records(results_dir: str | Path, profile: str, *, kind: str | None = None) -> list[Record]:
    """The exported records of ``profile`` under ``results_dir``, optionally of one kind.

    Kinds: "data" (a dataset), "train" (a trained model), "attack" (an attack on a model), "saliency", "probe" (of a
    model, or of the images of a dataset: ``meddef.probes``).

    Raises:
        InputError: nothing was exported there, or it is not what was exported: a line that is no record or contradicts
            itself, one twice or missing, another profile's file, another checksum.
    """
    path, text = _export(results_dir, profile, "records")
    rows = _rows(path, text)
    seen: set[str] = set()
    for number, (row, line) in enumerate(zip(rows, text.splitlines(), strict=True), start=1):
        fault = fault_of(row) if isinstance(row.get("key"), str) else "it names no cell"
        if fault or line in seen:
            raise _refused(path, f"line {number}: {fault or 'it is there twice'}")
        seen.add(line)
    made = path.with_name("provenance.jsonl")
    if made.exists():
        head, cells = _circumstances(results_dir, profile)
        if head.get("profile", profile) != profile:
            raise _refused(made, f"it is of profile '{head['profile']}'")
        if odd := sorted({row["key"] for row in rows} ^ {cell["key"] for cell in cells}):
            raise _refused(path, f"cell {odd[0]} is only in one of it and {made.name}")
        if head and head["records"] != hashlib.sha256(text.encode()).hexdigest():
            raise _refused(path, f"its checksum is not that in {made.name}")
    return [row for row in rows if kind in (None, row["kind"])]


def load_provenance(results_dir: str | Path, profile: str) -> list[Record]:
    """Circumstances of each cell: git commit, versions, hardware, seconds.

    Raises:
        InputError: nothing was exported there, or it is not what was exported.
    """
    return _circumstances(results_dir, profile)[1]


def _circumstances(results_dir: str | Path, profile: str) -> tuple[Record, list[Record]]:
    """What the first row says of the export (empty where an earlier version wrote it), and the cells' circumstances."""
    path, text = _export(results_dir, profile, "provenance")
    rows = _rows(path, text)
    head: Record = {}
    if rows and isinstance(rows[0].get("export"), dict):
        head = rows.pop(0)["export"]
        below = text.partition("\n")[2]
        if {*head} != {"profile", "records", "provenance"}:
            raise _refused(path, "its first line is not as it was written")
        if head["provenance"] != hashlib.sha256(below.encode()).hexdigest():
            raise _refused(path, "its checksum differs")
    shared: dict[int, Record] = {}
    cells: dict[str, Record] = {}
    for number, row in enumerate(rows, start=1):
        common = row.pop("circumstances", None)
        if isinstance(row.get("key"), str):
            if row["key"] in cells:
                raise _refused(path, f"cell {row['key']} is there twice")
            if common is not None and common not in shared:
                raise _refused(path, f"the circumstances of cell {row['key']} are missing")
            cells[row["key"]] = {**shared.get(common, {}), **row}
        elif isinstance(common, int):
            shared[common] = row
        else:
            raise _refused(path, f"row {number} is of no cell")
    return head, list(cells.values())


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


def _export(results_dir: str | Path, profile: str, name: str) -> tuple[Path, str]:
    """The place and the text of an exported file."""
    path = Path(results_dir) / profile / f"{name}.jsonl"
    if not path.is_file():
        raise InputError(
            f"no {name} of profile '{profile}' at {path}: run 'meddef reproduce --profile {profile}' first"
        )
    try:
        return path, path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise _refused(path, f"byte {error.start} is no text in UTF-8") from error


def _rows(path: Path, text: str) -> list[Record]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _refused(path, f"line {number} is not JSON") from error
        if not isinstance(row, dict):
            raise _refused(path, f"line {number} is no record")
        rows.append(row)
    return rows


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path}, {why}: restore the file or reproduce it")


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
        rates = {"clean": counts.clean_accuracy, "robust": counts.robust_accuracy, "asr": counts.asr}
        for name, rate in rates.items():
            row[name] = rate.value
            row[f"{name}_low"], row[f"{name}_high"] = rate.interval
        rows.append(row)
    return pd.DataFrame(rows)
