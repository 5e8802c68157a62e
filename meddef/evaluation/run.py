"""Runs a plan: recorded cells are kept, missing ones computed in parallel, and a killed run resumes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meddef.atomic import alone, sha256_of
from meddef.errors import RunFailed
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import model_folder
from meddef.evaluation.cluster import Cluster
from meddef.evaluation.plan import Plan, RunOptions
from meddef.evaluation.provenance import surroundings
from meddef.evaluation.recorded import result_of
from meddef.evaluation.task import Task, run_task, task_of
from meddef.progress import progress_bar
from meddef.records import Record, RecordStore
from meddef.settings import Profile

logger = logging.getLogger(__name__)
LEFT_OVERS = ("cells/.*.json.*", "unfinished/.*.json.*", "models/*/.*.*.*", ".*.jsonl.*")
"""Temporary files, of processes that were killed while they wrote."""
LOOK_SECONDS = 5.0  # between checks of what running tasks have recorded


class CellsFailed(RunFailed):
    """Some cells raised; the others are recorded. The message names each with its error."""


def missing(plan: Plan, store: RecordStore) -> list[Cell]:
    """The cells of ``plan`` that have no usable result yet, and the training cells whose weights they lack."""
    lacking = [cell for cell in plan.cells if result_of(cell, store) is None]
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
    """Whether the weights of a recorded training exist and are unchanged (changed ones are logged)."""
    path, result = model_folder(store.folder, key) / "best.safetensors", store.get(key)
    if result is None or not path.is_file():
        return False
    whole = result.provenance.get("weights") in (None, sha256_of(path))
    if not whole:
        logger.warning("%s is damaged: the model will be trained again", path)
    return whole


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
    ``at_once`` tasks are submitted at a time (all that are ready, if None); then a model is attacked before the next
    one is trained, and one seed comes after the other, so that an interrupted run leaves complete models and seeds.

    Raises:
        InputError: another run works in the same folder.
        CellsFailed: some cells raised; everything else was computed and exported.
    """
    store = RecordStore(options.folder)
    with _locked(options.folder):
        failures: list[str] = []
        tried: set[str] = set()
        while not failures and (todo := [cell for cell in missing(plan, store) if cell.key not in tried]):
            failures = _compute(plan, todo, options, executor, inside, at_once)
            tried.update(cell.key for cell in todo)
        keys = [cell.key for cell in plan.cells]
        records = store.export(keys) if export else store.collect(keys)
    if failures:
        lines = "\n".join(dict.fromkeys(failures))  # cells of several seeds have one label
        raise CellsFailed(f"{len(failures)} cells failed; run again to retry them:\n{lines}")
    return records


def _compute(
    plan: Plan, todo: list[Cell], options: RunOptions, executor: Executor, inside: bool, at_once: int | None
) -> list[str]:
    """Compute ``todo`` under a progress bar; the failures in words. A model that had to be trained again and came out
    otherwise makes the results on it obsolete: more may be missing afterwards."""
    failures: list[str] = []
    done = 0
    with progress_bar(_whole_passes(todo), plan.profile.name, unit="pass") as bar:
        for cells, error in _execute(plan, todo, options, executor, inside, at_once):
            done += len(cells)
            bar.set_postfix_str(f"{done}/{len(todo)} cells, last {cells[-1].label}", refresh=False)
            bar.update(_whole_passes(cells))
            if error is not None:
                failures += [f"  {cell.label}: {error}" for cell in cells]
    return failures


def _whole_passes(cells: Iterable[Cell]) -> int:
    """Cost in whole passes: sums of fractions could exceed the total by rounding, which tqdm warns about."""
    return sum(max(1, round(cell.work)) for cell in cells)


def _execute(
    plan: Plan, todo: list[Cell], options: RunOptions, executor: Executor, inside: bool, at_once: int | None
) -> Iterator[tuple[tuple[Cell, ...], BaseException | None]]:
    """Run tasks as the models they need become available; yields cells when they are done, with their error, if any.

    Cells of a running task count as done once recorded: a task may take an hour.
    """
    store = RecordStore(options.folder)
    told: set[str] = set()
    planned_with = surroundings()
    trains = {cell.key: cell for cell in plan.cells if cell.kind == "train"}
    pending = {cell.key for cell in todo}
    waiting: dict[str, list[Task]] = {}
    ready: list[Task] = []
    for cells in _grouped(todo):
        models = [trains[key] for key in cells[0].requires]
        train = models[0] if models else None
        task = Task(cells, train, plan.profile, options, inside, tuple(models[1:]), planned_with)
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
        if not finished and isinstance(executor, Cluster):
            executor.look()
        for task in running.values() if not finished else ():
            if fresh := _recorded(task, store, told):
                yield fresh, None
        for future in finished:
            task = running.pop(future)
            error = executor.error_of(future) if isinstance(executor, Cluster) else future.exception()
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
    """Queue ``task`` under the first model that it lacks, or, if it lacks none, as ready."""
    key = next((key for key in task.cells[0].requires if key in pending), None)
    (else_in if key is None else waiting.setdefault(key, [])).append(task)


def _recorded(task: Task, store: RecordStore, told: set[str]) -> tuple[Cell, ...]:
    """Newly recorded cells of a running task; they are added to ``told``."""
    if len(task.cells) == 1:
        return ()  # a training may have its record and lack its weights
    fresh = tuple(cell for cell in task.cells if cell.key not in told and result_of(cell, store) is not None)
    told.update(cell.key for cell in fresh)
    return fresh


def _turn(cell: Cell, profile: Profile, *, whole_models: bool) -> tuple[int, int]:
    """Priority, and the place in it: attacks on existing models (``whole_models``) or trainings that others wait for.

    With ``whole_models`` the trainings of one seed come after those of the one before, else those of architectures
    with a control first; curves come last.
    """
    if cell.kind == "curve":
        return 4, 0
    if cell.kind != "train":
        return (0 if whole_models else 3), 0
    controlled = cell.settings["variant"] in profile.controls
    return (1, profile.seeds.index(cell.settings["seed"])) if whole_models else (1 if controlled else 2, 0)


def _grouped(cells: Iterable[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Attack cells on one model together, its pruned versions apart from the dense one; its probes; others alone."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(task_of(cell), []).append(cell)
    for group in groups.values():
        yield tuple(group)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One run per folder at a time."""
    with alone(folder, f"another run works in {folder}: wait for it, or give another --runs-dir"):
        for left_over in (path for pattern in LEFT_OVERS for path in folder.glob(pattern)):
            left_over.unlink()
        yield
