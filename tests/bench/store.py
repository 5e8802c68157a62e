"""The table of the attacks as small text, for the book's page on cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from meddef.atomic import write_text
from meddef.evaluation.provenance import provenance
from tests.bench import peers
from tests.bench.growth import Point
from tests.bench.table import Row
from tests.bench.workload import bf16_pays

FOLDER = Path(__file__).parents[2] / "results" / "bench"


def place() -> Path:
    """The file of this kind of machine; a measurement on another kind stays beside it."""
    kind = torch.backends.cpu.get_cpu_capability().lower() + ("_bf16" if bf16_pays() else "")
    return FOLDER / f"attacks_{kind}.json"


def write(path: Path, rows: Sequence[Row], growth: Sequence[Point], seconds: float) -> None:
    """Rows, growth, and where they come from: hardware, threads, versions (of peers too), commit, date."""
    circumstances = provenance("cpu", seconds)
    circumstances["versions"] |= peers.versions()
    circumstances["threads"] = torch.get_num_threads()
    content = {
        "provenance": circumstances,
        "rows": [_rounded(asdict(row) | {"verdict": row.verdict}) for row in rows],
        "growth": [_rounded(dict(point)) for point in growth],
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _rounded(entry: dict[str, object]) -> dict[str, object]:
    """Numbers to four digits."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in entry.items()}
