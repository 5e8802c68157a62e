"""Running a plan: what is recorded is kept, what is missing is computed, in parallel, and a killed run resumes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from meddef.arithmetic import recorded
from meddef.data.splits import Splits
from meddef.errors import InputError, RunFailed
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import load_trained, model_folder, run_attack, run_data, run_saliency, run_train
from meddef.evaluation.curve import run_curve
from meddef.evaluation.plan import Plan, RunOptions, splits_of
from meddef.evaluation.probing import probe_images, run_probe
from meddef.evaluation.provenance import provenance
from meddef.evaluation.rivals import KINDS, run_rival
from meddef.progress import progress_bar
from meddef.records import CellResult, Record, RecordStore
from meddef.settings import Profile
from meddef.training.team import Team

logger = logging.getLogger(__name__)
TRAINED = ("train", "curve")  # kinds of cells that leave weights
LOOK_SECONDS = 5.0  # between looks at what running tasks have recorded


@dataclass(frozen=True)
class Task:
    """Cells that one worker runs in turn because they share a model; ``train`` is the cell that made it, ``others``
    those that made other models which they ask."""

    cells: tuple[Cell, ...]
    train: Cell | None
    profile: Profile
    options: RunOptions
    progress: bool
    others: tuple[Cell, ...] = ()


class CellsFailed(RunFailed):
    """Some cells raised; the others are recorded. The message names each with its error."""


def missing(plan: Plan, store: RecordStore) -> list[Cell]:
    """The cells of ``plan`` that have no usable result yet, and the training cells whose weights they lack."""
    lacking = [cell for cell in plan.cells if store.get(cell.key) is None]
    needed = {key for cell in lacking for key in cell.requires}
    models = [
        cell
        for cell in plan.cells
        if cell.kind == "train"
        and cell.key in needed
        and cell not in lacking
        and not _weights_are_whole(store, cell.key)
    ]
    return models + lacking


def _weights_are_whole(store: RecordStore, key: str) -> bool:
    """Whether the weights of a recorded training are there, and are those that it left (other ones are logged)."""
    path, result = model_folder(store.folder, key) / "best.safetensors", store.get(key)
    if result is None or not path.is_file():
        return False
    whole = result.provenance.get("weights") in (None, _digest(path))
    if not whole:
        logger.warning("%s is damaged: the model will be trained again", path)
    return whole


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_plan(
    plan: Plan,
    options: RunOptions,
    executor: Executor,
    *,
    inside: bool,
    at_once: int | None = None,
    export: bool = True,
) -> list[Record]:
    """Compute what is missing, return the records of the plan and (``export``) write them as the profile's.

    ``inside`` shows progress within a cell too (for a single process; several would write over each other).
    ``at_once`` tasks are with the executor at a time (all that are ready, if None); then a model is attacked before the
    next one is trained, so that a run that is stopped leaves whole models.

    Raises:
        InputError: another run works in the same folder.
        CellsFailed: some cells raised; everything else was computed and exported.
    """
    store = RecordStore(options.folder)
    with _locked(options.folder):
        todo = missing(plan, store)
        failures: dict[str, str] = {}
        done = 0
        with progress_bar(_whole_passes(todo), plan.profile.name, unit="pass", enabled=bool(todo)) as bar:
            for cells, error in _execute(plan, todo, options, executor, inside, at_once):
                done += len(cells)
                bar.set_postfix_str(f"{done}/{len(todo)} cells, last {cells[-1].label}", refresh=False)
                bar.update(_whole_passes(cells))
                if error is not None:
                    failures |= {cell.label: str(error) for cell in cells}
        keys = [cell.key for cell in plan.cells]
        records = store.export(keys) if export else store.collect(keys)
    if failures:
        lines = "\n".join(f"  {label}: {reason}" for label, reason in failures.items())
        raise CellsFailed(f"{len(failures)} cells failed; run again to retry them:\n{lines}")
    return records


def _whole_passes(cells: Iterable[Cell]) -> int:
    """Work in whole passes: sums of fractions could end a rounding error above the total, which tqdm warns about."""
    return sum(max(1, round(cell.work)) for cell in cells)


def _execute(
    plan: Plan, todo: list[Cell], options: RunOptions, executor: Executor, inside: bool, at_once: int | None
) -> Iterator[tuple[tuple[Cell, ...], BaseException | None]]:
    """Run tasks as the models they need become available; yields cells when they are done, with their error, if any.

    Cells of a task that is still running are done when they are recorded: a task may take an hour.
    """
    store = RecordStore(options.folder)
    told: set[str] = set()
    trains = {cell.key: cell for cell in plan.cells if cell.kind == "train"}
    pending = {cell.key for cell in todo}
    waiting: dict[str, list[Task]] = {}
    ready: list[Task] = []
    for cells in _grouped(todo):
        models = [trains[key] for key in cells[0].requires]
        train = models[0] if models else None
        task = Task(cells, train, plan.profile, options, inside, tuple(models[1:]))
        _waits_for(task, pending, waiting, else_in=ready)
    ready.sort(key=lambda task: _turn(task.cells[0], plan.profile, whole_models=at_once is not None))
    running: dict[Future[None], Task] = {}
    while ready or running:
        while ready and (at_once is None or len(running) < at_once):
            task = ready.pop(0)
            running[executor.submit(run_task, task)] = task
            if inside:
                break  # in process a submitted task is already done: report it before the next one starts
        finished = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done
        for task in running.values() if not finished else ():
            if fresh := _recorded(task, store, told):
                yield fresh, None
        for future in finished:
            task = running.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise CellsFailed(
                    "a worker process died (out of memory?): run again with fewer --jobs"
                ) from error
            if rest := tuple(cell for cell in task.cells if cell.key not in told):
                yield rest, error
            made = task.cells[0].key
            if error is None:
                pending.discard(made)
                free: list[Task] = []
                for follower in waiting.pop(made, []):
                    _waits_for(follower, pending, waiting, else_in=free)
                ready[:0] = free
                continue
            for followers in waiting.values():
                for follower in [one for one in followers if made in one.cells[0].requires]:
                    followers.remove(follower)
                    yield follower.cells, RuntimeError(f"its model was not trained: {error}")


def _waits_for(task: Task, pending: set[str], waiting: dict[str, list[Task]], *, else_in: list[Task]) -> None:
    """Put ``task`` where the first model that it lacks is waited for, or, if it lacks none, into the other list."""
    key = next((key for key in task.cells[0].requires if key in pending), None)
    (else_in if key is None else waiting.setdefault(key, [])).append(task)


def _recorded(task: Task, store: RecordStore, told: set[str]) -> tuple[Cell, ...]:
    """Cells of a running task of several that were recorded and not ``told`` of yet, which they are now."""
    if len(task.cells) == 1:
        return ()  # a training may have its record and lack its weights
    fresh = tuple(cell for cell in task.cells if cell.key not in told and store.get(cell.key) is not None)
    told.update(cell.key for cell in fresh)
    return fresh


def _turn(cell: Cell, profile: Profile, *, whole_models: bool) -> int:
    """Whose turn is first: attacks on models that are there (``whole_models``) or the trainings that others wait for.

    Of the trainings first the architectures that are trained both ways; long ones come last.
    """
    if cell.kind == "curve":
        return 4
    if cell.kind != "train":
        return 0 if whole_models else 3
    return 1 if cell.settings["variant"] in profile.controls else 2


def _grouped(cells: Iterable[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Attack cells on one model together, its pruned versions apart from the dense one; its probes; others alone."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(task_of(cell), []).append(cell)
    for group in groups.values():
        yield tuple(group)


def task_of(cell: Cell) -> tuple[Any, ...]:
    """What the cells of one task have in common: they share a model, and one worker runs them in turn."""
    if cell.kind == "attack":
        return cell.needs, cell.settings["prune_scope"], cell.settings["prune_rate"] > 0
    return (cell.needs, cell.kind) if cell.kind == "probe" and cell.needs else (cell.key,)


def run_task(task: Task) -> None:
    """Run the cells of one task and store each result as soon as it is there (in a worker process).

    Of several processes that train together the first stores. Threads are the profile's, and everything is told to give
    the same bits twice; both are afterwards as they were.
    """
    with recorded(task.profile.threads):
        _run_cells(task)


def _run_cells(task: Task) -> None:
    store = RecordStore(task.options.folder)
    first = task.cells[0]
    splits = _splits(first.dataset, task.profile, task.options)
    by_rate: dict[float, list[Cell]] = {}
    for cell in task.cells:
        by_rate.setdefault(cell.settings.get("prune_rate", 0.0), []).append(cell)
    models: Iterable[nn.Module | None] = [None]
    if task.train is not None:
        scope = first.settings.get("prune_scope", "global")
        models = load_trained(task.train, splits, task.options.folder, list(by_rate), scope)
    for model, cells in zip(models, by_rate.values(), strict=True):
        for cell in cells:
            if cell.kind != "train" and store.get(cell.key) is not None:
                continue  # recorded by a worker that died before it could say so
            started = time.perf_counter()
            records = _run_cell(cell, task, splits, model)
            seconds = time.perf_counter() - started
            if not Team.current().leads:
                continue
            circumstances = provenance(task.options.device, seconds)
            if cell.kind in TRAINED:
                circumstances["weights"] = _digest(
                    model_folder(task.options.folder, cell.key) / "best.safetensors"
                )
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One run a folder at a time; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another run works in {folder}: wait for it, or give another --runs-dir"
            ) from error
        yield
