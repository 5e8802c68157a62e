"""The whole way from images to report: drawing, caching, pruning, running, and the size of it all."""

from __future__ import annotations

import copy
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

from meddef.data import load_splits
from meddef.data.phantom import FAMILIES, draw_phantoms
from meddef.models import build_model
from meddef.pruning import prune_l1_grid
from tests.bench.table import Row, at_least, at_most, interleaved

ROOT = Path(__file__).parents[2]
RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def rows() -> list[Row]:
    """All measurements; the fresh run of the smoke profile takes minutes."""
    return [*drawing(), *cached_load(), pruning(), *reproduce(), repository()]


def drawing() -> list[Row]:
    count = 400
    found = []
    for family in FAMILIES:
        seconds = interleaved({"draw": lambda family=family: draw_phantoms(family, count, size=64)})["draw"]
        found.append(
            at_least(f"phantoms drawn at 64 px, one process: {family}", count / seconds, 250, "images/s")
        )
    return found


def cached_load() -> list[Row]:
    if not os.environ.get("MEDDEF_DATA_DIR"):
        return []
    load_splits("chest_xray", progress=False)
    seconds = interleaved({"load": lambda: load_splits("chest_xray", progress=False)})["load"]
    return [at_most("second load of 5,856 chest X-rays", seconds, 1)]


def pruning() -> Row:
    model = build_model("full", 4)

    def nine_copies() -> None:
        for rate in RATES:
            pruned = copy.deepcopy(model)
            targets = [(m, "weight") for m in pruned.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            prune.global_unstructured(targets, prune.L1Unstructured, amount=rate)
            for module, name in targets:
                prune.remove(module, name)

    def one_pass() -> None:
        for _ in prune_l1_grid(model, RATES):
            pass

    times = interleaved({"copies": nine_copies, "one pass": one_pass})
    return at_least(
        "nine prune rates against nine deep copies with torch", times["copies"] / times["one pass"], 5, "x"
    )


def reproduce() -> list[Row]:
    """A fresh smoke run and one with nothing to do, without the report; peak memory of the largest two processes."""
    command = [sys.executable, "-m", "meddef", "reproduce", "--profile", "smoke", "--no-report"]
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run([*command, "--runs-dir", folder], check=True, stderr=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
    gigabytes = 2 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return [
        at_most("smoke from images to records", seconds[0], 390),
        at_most("smoke again, nothing changed", seconds[1], 60),
        Row("peak memory of two workers", f"{gigabytes:.1f} GiB", "under 4 GiB", gigabytes < 4),
    ]


def repository() -> Row:
    listing = subprocess.run(
        ["git", "ls-tree", "-rl", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    size = sum(int(line.split()[3]) for line in listing.stdout.splitlines()) / 1e6
    return Row("size of the repository's files", f"{size:.1f} MB", "under 15 MB", size < 15)


def environment() -> str:
    """The machine and versions that the numbers belong to."""
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
