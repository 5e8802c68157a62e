"""What the planner needs for each cell, in CPU seconds of one process: other work on the machine does not count."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from meddef.atomic import write_text
from meddef.evaluation.cell import Cell, Extent
from meddef.evaluation.plan import Plan, expand
from meddef.evaluation.provenance import provenance
from meddef.evaluation.recorded import ASKED, fingerprint_of
from meddef.evaluation.run import missing
from meddef.evaluation.status import run_status
from meddef.records import CellResult, Record, RecordStore
from meddef.report.cost_planned import split_sizes
from meddef.report.cost_scaling import ENGINE
from meddef.settings import load_profile

IMAGES = 879  # the test split of the chest X-rays


def plan(seeds: int) -> Plan:
    """The profile ``paper`` with so many seeds, planned from the published sizes."""
    profile = load_profile("paper").model_copy(update={"seeds": list(range(seeds))})
    extents = [Extent(**split_sizes(dataset), fingerprint="0" * 64) for dataset in profile.datasets]
    return Plan(profile, tuple(expand(profile, extents)))


def record_of(cell: Cell) -> Record:
    """What ``cell`` would leave, in the form that is looked at when it is read."""
    answers = dict.fromkeys(("labels", "before", "after"), "0" * IMAGES)
    asked = {name: cell.settings[name] for name in ASKED if name in cell.settings}
    whose = {"kind": cell.kind, "dataset": cell.dataset, "n": cell.settings.get("images")}
    fingerprint = {"fingerprint" if cell.kind == "data" else "data_fingerprint": fingerprint_of(cell)}
    return answers | asked | whose | fingerprint


def other(made: Plan) -> Plan:
    """The same with another setting, so that every cell on disk is stale."""
    cells = [replace(cell, settings={**cell.settings, "threads": 99}) for cell in made.cells]
    return Plan(made.profile, tuple(cells))


def measure(seeds: int, folder: Path) -> dict[str, float]:
    """CPU seconds of planning, of keys, of writing and of reading every cell once."""
    made: list[Plan] = []
    store = RecordStore(folder)
    steps: dict[str, Callable[[], object]] = {
        "planned": lambda: made.append(plan(seeds)),
        "key computed": lambda: [cell.key for cell in made[0].cells],
        "recorded": lambda: [
            store.put(CellResult(cell.key, [record_of(cell)], {}, cell.content)) for cell in made[0].cells
        ],
        "found done (keys, reading, checksums)": lambda: missing(made[0], store),
        "found stale (status after all settings changed)": lambda: run_status(other(made[0]), folder),
    }
    seconds: dict[str, float] = {}
    for name, step in steps.items():
        started = time.process_time()
        step()
        seconds[name] = time.process_time() - started
    return {"cells": len(made[0].cells)} | {k: float(f"{v:.4g}") for k, v in seconds.items()}


def main() -> None:
    """Write the table that the book's page on full size shows."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(seeds, Path(folder) / str(seeds)) for seeds in (1, 8)]
    content = {"rows": rows, "provenance": provenance("cpu", time.perf_counter() - started)}
    write_text(Path(__file__).parents[2] / ENGINE, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
