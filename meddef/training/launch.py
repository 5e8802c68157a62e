"""Joins the processes started by torchrun, and ends with a message when one of them dies.

``DistributedDataParallel`` is used unmodified. Accelerate would add a dependency and its own sharding of batches (it
repeats images to fill the last one), and has no BatchNorm that runs on CPUs either.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist

from meddef.errors import InputError, RunFailed
from meddef.training.process_group import Team

TIMEOUT = timedelta(minutes=10)  # to detect a hanging process; a dead one is detected at once
LOST = ("gloo", "nccl", "connection", "timed out")  # common part of the messages of a broken group


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team of this process until the block ends: gloo on CPUs, NCCL on GPUs, one GPU per process.

    Without torchrun it is a team of one. Raises:
        InputError: ``device`` names one GPU for all processes, or there are more processes than GPUs.
        RunFailed: another process died, or none made progress for ``TIMEOUT``.
    """
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield Team()
        return
    if device != "cpu":
        _take_gpu(device, int(os.environ["LOCAL_RANK"]))
    with _ending_together():
        dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=TIMEOUT)
        yield Team.current()
        dist.destroy_process_group()


def _take_gpu(device: str, number: int) -> None:
    """Make "cuda" mean the GPU of this process."""
    if device != "cuda":
        raise InputError(
            f"--device {device} with several processes: use cuda, each process then uses its own GPU"
        )
    if number >= (count := torch.cuda.device_count()):
        raise InputError(f"process {number} of this machine has no GPU: use --nproc-per-node {count} at most")
    torch.cuda.set_device(number)


@contextmanager
def _ending_together() -> Iterator[None]:
    """Turn a broken group, and torchrun's signal that another process died, into a one-line error with the remedy."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending: report its own error
        if type(error) is RunFailed or not isinstance(error, RuntimeError):
            raise
        reason = " ".join(str(error).split())
        if not any(word in reason.lower() for word in LOST):
            raise
        raise _failure(reason.split(". ")[0]) from error
    signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _failure("asked to stop")


def _failure(reason: str) -> RunFailed:
    rank = os.environ["RANK"]
    return RunFailed(
        f"process {rank}: another process of this training has ended ({reason}): run the same command again to resume "
        "after the last complete epoch"
    )
