"""The provenance of a result: commit, versions, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from meddef.training.process_group import Team

PACKAGES = ("meddef", "torch", "torchvision", "numpy", "opencv-python-headless")


@cache
def _environment(device: str) -> dict[str, Any]:
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "hardware": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        },
        "device": device,
        "command": " ".join(["meddef", *sys.argv[1:]]) if Path(sys.argv[0]).stem == "meddef" else None,
    }


def provenance(device: str, seconds: float) -> dict[str, Any]:
    """A JSON-able description of this process and of the time a cell took.

    ``cudnn_deterministic``: whether a GPU's convolutions were deterministic; None on a CPU.
    """
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        **_environment(device),
        "cudnn_deterministic": torch.backends.cudnn.deterministic if device.startswith("cuda") else None,
        "processes": Team.current().size,
        "seconds": round(seconds, 3),
        "finished": finished,
    }


def _git(*arguments: str) -> str:
    package = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
