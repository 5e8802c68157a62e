"""Print the benchmark tables, all or one: python -m tests.bench [spine|attacks]; --tiny tries the code in seconds."""

import argparse
import time

import torch

from tests.bench import (
    bench_ensemble,
    bench_gradient,
    bench_jsma,
    bench_pruning,
    bench_spine,
    bench_training,
    growth,
    store,
)
from tests.bench.table import say, show
from tests.bench.workload import FULL, TINY

parser = argparse.ArgumentParser(prog="python -m tests.bench")
parser.add_argument("table", nargs="?", choices=["spine", "attacks"])
parser.add_argument(
    "--tiny", action="store_true", help="the attacks on next to nothing; numbers mean nothing"
)
given = parser.parse_args()
scale = TINY if given.tiny else FULL
torch.set_num_threads(scale.threads)
machine = f"{scale.threads} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
if given.table != "attacks":
    show(f"From images to report ({machine})", bench_spine.rows())
if given.table != "spine":
    started = time.perf_counter()
    parts = (bench_gradient, bench_training, bench_jsma, bench_ensemble, bench_pruning)
    rows = [row for part in parts for row in part.rows(scale)]
    grown = list(growth.points(scale))
    show(f"Attacks and pruning ({machine})", rows)
    if not given.tiny:
        store.write(store.place(), rows, grown, time.perf_counter() - started)
        say(f"written to {store.place()}")
