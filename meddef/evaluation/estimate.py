"""How long a plan will take on this machine: its work in passes, times the measured time of one pass."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from meddef.arithmetic import on_threads
from meddef.evaluation.cell import Cell
from meddef.evaluation.task import task_of
from meddef.image_size import sides
from meddef.models import build_model
from meddef.settings import Profile

BATCHES = 3
START_SECONDS = 8.0
"""Until a new worker process has loaded torch and this package."""
TASK_SECONDS = 0.6
"""Of a task, beside its passes: its images, building a model, loading or storing weights."""
CELL_SECONDS = 0.1
"""Of a cell, beside its passes: the first batch, counts, the record. All three were measured on two cores of a server
(AMD EPYC), the last as the shortest cells of the stored run of ``smoke``."""


def seconds_per_pass(profile: Profile, device: str, precision: str = "float32") -> float:
    """Measured seconds for one forward-and-backward pass of one image through the full model, on one worker.

    ``precision`` "bf16" runs the forward pass under bfloat16 autocast, as training and attacks do. Threads and random
    numbers of the caller stay as they were.
    """
    with on_threads(profile.threads), torch.random.fork_rng():
        return _seconds_per_pass(profile, device, precision)


def _seconds_per_pass(profile: Profile, device: str, precision: str) -> float:
    model = build_model("full", 2).to(device).to(memory_format=torch.channels_last).eval()
    size = (profile.batch_size, 3, *sides(profile.image_size))
    images = torch.rand(size, device=device).to(memory_format=torch.channels_last).requires_grad_()
    labels = torch.zeros(profile.batch_size, dtype=torch.long, device=device)
    started = 0.0
    for batch in range(BATCHES + 1):
        if batch == 1:  # the first one warms up
            started = time.perf_counter()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(images).float(), labels)
        float(torch.autograd.grad(loss, images)[0].sum())
    return (time.perf_counter() - started) / (BATCHES * profile.batch_size)


def pass_seconds(cells: Iterable[Cell], profile: Profile, device: str) -> dict[str, float]:
    """Precision -> ``seconds_per_pass``, for each precision that ``cells`` ask for."""
    return {p: seconds_per_pass(profile, device, p) for p in sorted({cell.precision for cell in cells})}


def estimate_seconds(
    cells: Iterable[Cell], per_pass: Mapping[str, float], jobs: int, *, starts_workers: bool = False
) -> float:
    """Wall time on ``jobs`` workers; ``per_pass`` as from ``pass_seconds``.

    Beside its passes every cell and every task has a constant cost, and workers that are started (``starts_workers``)
    load the libraries first: a run of minutes is mostly that. The tasks share the workers evenly, but attacks wait for
    the training of their model, so that no run is shorter than the longest such pair.
    """
    tasks: dict[tuple[Any, ...], float] = {}
    trainings: dict[str, float] = {}
    needs: dict[tuple[Any, ...], tuple[str, ...]] = {}
    for cell in cells:
        task = task_of(cell)
        cost = CELL_SECONDS + cell.work * per_pass[cell.precision]
        tasks[task] = tasks.get(task, TASK_SECONDS) + cost
        needs[task] = cell.requires
        if cell.kind == "train":
            trainings[cell.key] = tasks[task]
    chains = [
        cost + max((trainings.get(key, 0.0) for key in needs[task]), default=0.0)
        for task, cost in tasks.items()
    ]
    start = START_SECONDS if starts_workers and tasks else 0.0
    return start + max(sum(tasks.values()) / jobs, max(chains, default=0.0))


def sharing(workers: int, device: str, scheduler: str | None) -> int:
    """Speed-up of ``workers`` over one worker: those of one machine share its GPU."""
    return 1 if device.startswith("cuda") and scheduler is None else workers


def speed(per_pass: Mapping[str, float]) -> str:
    """The measured speed, in words, with a warning where bfloat16 is slower (some CPUs emulate it)."""
    found = ", ".join(
        f"{1 / seconds:.0f} passes per second measured here in {p}" for p, seconds in per_pass.items()
    )
    if per_pass.get("bf16", 0) > per_pass.get("float32", float("inf")):
        found += "; bf16 is slower here: use a copy of the profile with float32"
    return found


def humane(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
