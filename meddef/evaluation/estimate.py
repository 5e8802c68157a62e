"""How long a plan will take on this machine: its work in passes, times the measured time of one pass."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch.nn import functional as F

from meddef.evaluation.plan import Cell
from meddef.models import build_model
from meddef.settings import Profile

BATCHES = 3


def seconds_per_pass(profile: Profile, device: str) -> float:
    """Measured seconds for one forward-and-backward pass of one image through the full model, on one worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(profile.threads)
    model = build_model("full", 2).to(device).to(memory_format=torch.channels_last).eval()
    size = (profile.batch_size, 3, profile.image_size, profile.image_size)
    images = torch.rand(size, device=device).to(memory_format=torch.channels_last).requires_grad_()
    labels = torch.zeros(profile.batch_size, dtype=torch.long, device=device)
    started = 0.0
    for batch in range(BATCHES + 1):
        if batch == 1:  # the first one warms up
            started = time.perf_counter()
        float(torch.autograd.grad(F.cross_entropy(model(images), labels), images)[0].sum())
    torch.set_num_threads(threads)
    return (time.perf_counter() - started) / (BATCHES * profile.batch_size)


def estimate_seconds(cells: Iterable[Cell], per_pass: float, jobs: int) -> float:
    """Wall time if ``jobs`` workers share the work evenly."""
    return sum(cell.work for cell in cells) * per_pass / jobs


def humane(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
