"""The provenance of a result: commit, versions, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from meddef import installation
from meddef.errors import InputError
from meddef.results_version import RESULTS_VERSION
from meddef.training.process_group import Team

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless")


@cache
def _environment(device: str) -> dict[str, Any]:
    commit, dirty = installation.commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": _versions(),
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


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "meddef": installation.version()} | packages


def surroundings() -> dict[str, str]:
    """What has to be the same wherever cells of one plan are computed: versions of Python, of packages and of results,
    and the text of this package."""
    results = {f"results version of {domain}": str(number) for domain, number in RESULTS_VERSION.items()}
    return _versions() | results | {"source of meddef": _source()}


def check_surroundings(there: Mapping[str, str], who: str) -> None:
    """Refuse to compute where the surroundings are others than ``there``, which are those of ``who``.

    Raises:
        InputError: one line that names all that differs.
    """
    here = surroundings()
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if names:
        told = "; ".join(f"{name} {there.get(name, 'none')}, here {here.get(name, 'none')}" for name in names)
        raise InputError(f"{who} computes with something else: {told}: install the same everywhere")


@cache
def _source() -> str:
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for ending in ("py", "csv", "yaml") for path in package.rglob(f"*.{ending}"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"\0{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
