"""Print a process's peak memory in GB before and after a JSMA on eight images of the given size."""

import re
import sys
from pathlib import Path

import torch

from meddef.attacks import jsma
from tests.bench.bench_jsma import THETA, workload


def peak() -> float:
    """From /proc, as getrusage counts the memory of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e9


torch.set_num_threads(2)
model, x, labels, targets = workload(int(sys.argv[1]), 3, images=8)
before = peak()
jsma(model, x, labels, theta=THETA, gamma=4.5 / x[0].numel(), targets=targets)
print(before, peak())
