"""What pruning does to a model: zeros, bytes on disk, time per image, accuracy with and without an attack."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.evaluation.metrics import Evaluation
from meddef.pruning import prunable_weights, sparsity
from meddef.sparse import save_sparse
from meddef.training.checkpoint import save_weights

REPEATS = 15
WARM_UP = 3


@dataclass(frozen=True)
class Compressed:
    """A model at one pruning rate.

    Attributes:
        rate: what was asked for, 0 for the model as it was.
        sparsity: share of zeros among its prunable weights.
        layers: the same for each of them, by name.
        parameters: all numbers that the model learns, zeros among them.
        left: those that are not pruned away.
        plain_bytes, packed_bytes: size of its weights as a file, as ``save_weights`` writes it and as ``save_sparse``
            packs it without the zeros.
        milliseconds: median time of one image, in a batch of its own.
        relative_time: that over the unpruned model's, both measured in turns.
        outcome: the evaluation under the attack.
    """

    rate: float
    sparsity: float
    layers: dict[str, float]
    parameters: int
    left: int
    plain_bytes: int
    packed_bytes: int
    milliseconds: float
    relative_time: float
    outcome: Evaluation


def compressed(
    rate: float, model: nn.Module, unpruned: nn.Module, image: Tensor, outcome: Evaluation
) -> Compressed:
    """What ``model`` holds and takes, beside the ``unpruned`` one.

    Args:
        rate: at which it was pruned.
        model, unpruned: in evaluation mode, on the device of ``image``.
        image: (1, C, H, W), to be timed.
        outcome: of its evaluation.
    """
    weights = prunable_weights(model)
    zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain.safetensors", Path(folder) / "packed.safetensors"
        save_weights(plain, model)
        save_sparse(packed, model)
        sizes = plain.stat().st_size, packed.stat().st_size
    mine, theirs = in_turns([lambda: model(image), lambda: unpruned(image)], image.device)
    return Compressed(
        rate=rate,
        sparsity=sparsity(model),
        layers={name: count / weights[name].numel() for name, count in zeros.items()},
        parameters=parameters,
        left=parameters - sum(zeros.values()),
        plain_bytes=sizes[0],
        packed_bytes=sizes[1],
        milliseconds=1000 * mine,
        relative_time=mine / theirs,
        outcome=outcome,
    )


@torch.inference_mode()
def in_turns(calls: list[Callable[[], Any]], device: torch.device) -> list[float]:
    """Median seconds of each call, ``REPEATS`` times in turns, so that what else the machine does slows them alike."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(WARM_UP + REPEATS):
        for call, taken in zip(calls, seconds, strict=True):
            _wait(device)
            start = time.perf_counter()
            call()
            _wait(device)
            if turn >= WARM_UP:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
