"""The whole way from images to report: drawing, caching, running, and the size of it all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from meddef.data import load_splits
from meddef.data.phantom import FAMILIES, draw_phantoms
from tests.bench.table import Row, interleaved, say

ROOT = Path(__file__).parents[2]


def rows() -> list[Row]:
    """All measurements; the fresh run of the smoke profile takes minutes."""
    return [*drawing(), *cached_load(), *reproduce(), repository()]


def drawing() -> list[Row]:
    say("phantoms")
    count = 400
    found = []
    for family in FAMILIES:
        seconds = interleaved({"draw": lambda family=family: draw_phantoms(family, count, size=64)})["draw"]
        found.append(
            Row(f"phantoms drawn at 64 px, one process: {family}", count / seconds, "images/s", least=250)
        )
    return found


def cached_load() -> list[Row]:
    if not os.environ.get("MEDDEF_DATA_DIR"):
        return []
    load_splits("chest_xray", progress=False)
    seconds = interleaved({"load": lambda: load_splits("chest_xray", progress=False)})["load"]
    return [Row("second load of 5,856 chest X-rays", seconds, "s", most=1)]


def reproduce() -> list[Row]:
    """A fresh smoke run and one with nothing to do, without the report; peak memory of the largest two processes."""
    say("a fresh smoke run, minutes")
    command = [sys.executable, "-m", "meddef", "reproduce", "--profile", "smoke", "--no-report"]
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run([*command, "--runs-dir", folder], check=True, stderr=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
    gigabytes = 2 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return [
        Row("smoke from images to records", seconds[0], "s", most=390),
        Row("smoke again, nothing changed", seconds[1], "s", most=60),
        Row("peak memory of two workers", gigabytes, "GiB", most=4),
    ]


def repository() -> Row:
    listing = subprocess.run(
        ["git", "ls-tree", "-rl", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    size = sum(int(line.split()[3]) for line in listing.stdout.splitlines()) / 1e6
    return Row("size of the repository's files", size, "MB", most=15)
