"""The state of a plan in a run folder: done, damaged, missing, running, and stale with reasons."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meddef.evaluation.attack_checkpoint import images_done
from meddef.evaluation.cell import Cell, part_of
from meddef.evaluation.cells import model_folder
from meddef.evaluation.plan import Plan
from meddef.evaluation.recorded import result_of
from meddef.records import RecordStore
from meddef.settings import PAPERS_METHOD

IDENTITY = (
    "probe", "variant", "seed", "grid", "prune_rate", "prune_scope", "defense", "attacker", "attack", "eps",
)  # fmt: skip


@dataclass
class PartStatus:
    """One dataset and part (a section of ``Cell.section``) of the plan, in numbers of cells."""

    dataset: str
    part: str
    done: int = 0
    damaged: int = 0
    missing: int = 0
    stale: Counter[str] = field(
        default_factory=Counter
    )  # why -> cells on disk that the plan no longer asks for


@dataclass(frozen=True)
class RunStatus:
    """``running``: whether a run holds the folder now; ``training``: label of a model in work -> epochs finished;
    ``attacking``: label of a long attack in work -> images done; ``processors``: model and instruction set -> cells
    computed with it."""

    parts: list[PartStatus]
    running: bool
    training: dict[str, int]
    attacking: dict[str, int]
    processors: Counter[str]


def run_status(plan: Plan, folder: Path) -> RunStatus:
    """Compare ``plan`` with what lies in ``folder``. Read-only; a running run is not disturbed."""
    store = RecordStore(folder)
    on_disk = set(store.keys())
    parts: dict[tuple[str, str], PartStatus] = {}
    training, attacking = {}, {}
    processors: Counter[str] = Counter()
    for cell in plan.cells:
        part = parts.setdefault((cell.dataset, cell.section), PartStatus(cell.dataset, cell.section))
        if (result := result_of(cell, store)) is not None:
            part.done += 1
            processors[_processor(result.provenance.get("hardware") or {})] += 1
        elif cell.key in on_disk:
            part.damaged += 1
        else:
            part.missing += 1
            if epochs := _epochs(model_folder(folder, cell.key) / "metrics.jsonl"):
                training[cell.label] = epochs
            if images := images_done(folder, cell.key):
                attacking[cell.label] = images
    successors: dict[tuple[Any, ...], Cell] = {}
    for cell in plan.cells:
        successors.setdefault(_identity(cell.content), cell)
    for key in sorted(on_disk - {cell.key for cell in plan.cells}):
        result = store.get(key)
        if result is None or not result.cell:
            continue
        old = result.cell
        section = part_of(old["kind"], old["settings"])
        part = parts.setdefault((old["dataset"], section), PartStatus(old["dataset"], section))
        part.stale[_why(old, successors.get(_identity(old)))] += 1
    return RunStatus(list(parts.values()), _is_locked(folder), training, attacking, processors)


def _processor(hardware: Mapping[str, Any]) -> str:
    """Model and instruction set: with the same instructions, libraries choose other kernels by model."""
    return (
        ", ".join(str(hardware[name]) for name in ("cpu", "instructions") if hardware.get(name)) or "unknown"
    )


def _why(old: Mapping[str, Any], new: Cell | None) -> str:
    """Differences between a cell on disk and its replacement in the plan."""
    if new is None:
        return "not in the plan"
    changed = _differences(old["settings"], json.loads(json.dumps(new.settings)))
    return ", ".join(changed or ["its model"])


def _identity(content: Mapping[str, Any]) -> tuple[Any, ...]:
    rule = (content["settings"].get("training") or {}).get("adversarial")
    trained = rule and rule.get("method", PAPERS_METHOD)
    named = tuple(content["settings"].get(name) for name in IDENTITY)
    return (content["kind"], content["dataset"], trained, *named)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings that differ, in alphabetical order."""
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name}")
    return found


def _epochs(metrics: Path) -> int:
    return len(metrics.read_bytes().splitlines()) if metrics.is_file() else 0


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
