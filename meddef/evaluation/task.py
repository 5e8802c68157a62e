"""A worker's task: its cells in turn, each recorded as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from meddef.arithmetic import recorded
from meddef.atomic import sha256_of
from meddef.data.source_phantom import FAMILY
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import load_trained, model_folder, run_attack, run_data, run_saliency, run_train
from meddef.evaluation.curve import run_curve
from meddef.evaluation.plan import RunOptions, splits_of
from meddef.evaluation.probing import probe_images, run_probe
from meddef.evaluation.provenance import check_surroundings, provenance
from meddef.evaluation.recorded import fingerprint_of, models_of, result_of
from meddef.evaluation.rivals import KINDS, run_rival
from meddef.records import CellResult, Record, RecordStore
from meddef.settings import Profile
from meddef.training.checkpoint import read_header
from meddef.training.process_group import Team

TRAINED = ("train", "curve")  # kinds of cells that leave weights


@dataclass(frozen=True)
class Task:
    """Cells that one worker runs in turn because they share a model; ``train`` is its training cell, ``others`` those
    of other models they need; ``planned_with`` are the ``surroundings`` of the process that planned."""

    cells: tuple[Cell, ...]
    train: Cell | None
    profile: Profile
    options: RunOptions
    progress: bool
    others: tuple[Cell, ...] = ()
    planned_with: Mapping[str, str] | None = None


def task_of(cell: Cell) -> tuple[Any, ...]:
    """The key that groups cells into a task: they share a model, and one worker runs them in turn."""
    if cell.kind == "attack":
        return cell.needs, cell.settings["prune_scope"], cell.settings["prune_rate"] > 0
    return (cell.needs, cell.kind) if cell.kind == "probe" and cell.needs else (cell.key,)


def run_task(task: Task) -> None:
    """Run the cells of one task and store each result immediately (in a worker process).

    In distributed training the first process stores. The number of threads is the profile's and determinism is on; both
    are restored afterwards.

    Raises:
        InputError: the images or the surroundings here are others than those the cells were planned with.
    """
    if task.planned_with is not None:
        check_surroundings(task.planned_with, "the process that planned this")
        data, is_drawn = task.options.data_dir, task.cells[0].dataset in FAMILY
        if data is not None and not is_drawn and not data.is_dir():
            raise InputError(f"no folder {data} here: mount the data under the same path on every worker")
    with recorded(task.profile.threads):
        _run_cells(task)


def _run_cells(task: Task) -> None:
    store = RecordStore(task.options.folder)
    first = task.cells[0]
    splits = _splits(first.dataset, task.profile, task.options)
    if splits.fingerprint != (planned := fingerprint_of(first)):
        raise InputError(
            f"the images of {first.dataset} here ({splits.fingerprint[:12]}) are others than those of the plan "
            f"({planned[:12]}): give every worker the same data folder, or plan again"
        )
    by_rate: dict[float, list[Cell]] = {}
    for cell in task.cells:
        by_rate.setdefault(cell.settings.get("prune_rate", 0.0), []).append(cell)
    models: Iterable[nn.Module | None] = [None]
    if task.train is not None:
        scope = first.settings.get("prune_scope", "global")
        models = load_trained(task.train, splits, task.options.folder, list(by_rate), scope)
    for model, cells in zip(models, by_rate.values(), strict=True):
        for cell in cells:
            if cell.kind != "train" and result_of(cell, store) is not None:
                continue  # recorded by a worker that died before reporting
            started = time.perf_counter()
            records = _run_cell(cell, task, splits, model)
            seconds = time.perf_counter() - started
            if not Team.current().leads:
                continue
            circumstances = provenance(task.options.device, seconds)
            if cell.kind in TRAINED:
                folder = model_folder(task.options.folder, cell.key)
                of_all_sessions = read_header(folder / "checkpoint.safetensors").get("seconds", 0.0)
                circumstances["seconds"] = max(circumstances["seconds"], round(of_all_sessions, 3))
                circumstances["weights"] = sha256_of(folder / "best.safetensors")
            if cell.requires:
                circumstances["models"] = models_of(cell, store)
            store.put(CellResult(cell.key, records, circumstances, cell.content))
    if first.kind in TRAINED and Team.current().leads:
        (model_folder(task.options.folder, first.key) / "checkpoint.safetensors").unlink(missing_ok=True)


def _run_cell(cell: Cell, task: Task, splits: Splits, model: nn.Module | None) -> list[Record]:
    if cell.kind == "data":
        return run_data(cell, splits)
    if cell.kind == "curve":
        return run_curve(cell, splits, task.options.folder, progress=task.progress)
    if cell.kind == "train":
        return run_train(cell, splits, task.options.folder, progress=task.progress)
    if cell.section == "probe images":
        return probe_images(cell, splits, task.options)
    assert task.train is not None
    assert model is not None
    if cell.kind == "saliency":
        return run_saliency(cell, task.train, splits, model)
    if cell.kind in KINDS:
        return run_rival(
            cell, task.train, task.others, splits, model, task.options.folder, progress=task.progress
        )
    if cell.kind == "probe":
        return run_probe(cell, task.train, splits, model)
    return run_attack(cell, task.train, splits, model, task.options.folder, progress=task.progress)


@lru_cache(maxsize=4)
def _splits_cached(dataset_json: str, profile_json: str, options: RunOptions) -> Splits:
    profile = Profile.model_validate_json(profile_json)
    dataset = next(d for d in profile.datasets if d.model_dump_json() == dataset_json)
    return splits_of(dataset, profile, options)


def _splits(name: str, profile: Profile, options: RunOptions) -> Splits:
    dataset = next(d for d in profile.datasets if d.name == name)
    return _splits_cached(dataset.model_dump_json(), profile.model_dump_json(), options)
