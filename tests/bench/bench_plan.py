"""What the planner needs for each cell, in CPU seconds of one process: other work on the machine does not count."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import meddef.evaluation.plan as planning
from meddef.atomic import write_text
from meddef.evaluation.plan import Plan, RunOptions
from meddef.evaluation.provenance import provenance
from meddef.evaluation.run import missing
from meddef.records import CellResult, RecordStore
from meddef.report.cost_planned import split_sizes
from meddef.report.cost_scaling import ENGINE
from meddef.settings import load_profile

IMAGES = 879  # the test split of the chest X-rays


def plan(seeds: int) -> Plan:
    """The profile ``paper`` with so many seeds, planned from the published sizes."""
    profile = load_profile("paper").model_copy(update={"seeds": list(range(seeds))})
    cells: list[planning.Cell] = []
    for dataset in profile.datasets:
        parts = {split: range(count) for split, count in split_sizes(dataset).items()}
        splits = SimpleNamespace(fingerprint="0" * 64, **parts)
        cells += planning._dataset_cells(profile, dataset, splits, RunOptions(Path()))  # type: ignore[arg-type]
    return Plan(profile, tuple(cells))


def measure(seeds: int, folder: Path) -> dict[str, float]:
    """CPU seconds of planning, of keys, of writing and of reading every cell once."""
    made: list[Plan] = []
    store = RecordStore(folder)
    answers = dict.fromkeys(("labels", "before", "after"), "0" * IMAGES)
    steps: dict[str, Callable[[], object]] = {
        "planned": lambda: made.append(plan(seeds)),
        "key computed": lambda: [cell.key for cell in made[0].cells],
        "recorded": lambda: [
            store.put(CellResult(cell.key, [answers], {}, cell.content)) for cell in made[0].cells
        ],
        "found done (keys, reading, checksums)": lambda: missing(made[0], store),
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
