"""One attack on saved weights, without a plan or records."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from meddef.attacks import ATTACKS
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.evaluation.cells import batches
from meddef.evaluation.metrics import Evaluation, evaluate
from meddef.models import build_model
from meddef.pruning import prune_l1
from meddef.training import load_weights


def evaluate_weights(
    weights: Path,
    variant: str,
    splits: Splits,
    *,
    attack: str,
    eps: float | None,
    rate: float,
    images: int,
    batch_size: int,
    device: str,
) -> Evaluation:
    """Load, prune and attack a model on the first ``images`` of the seeded order of the test split.

    Raises:
        InputError: unknown attack, an attack without eps was given one, wrong weights.
    """
    if attack != "clean" and attack not in ATTACKS:
        raise InputError(f"unknown attack '{attack}': use clean, {', '.join(ATTACKS)}")
    keywords: dict[str, Any] = {} if eps is None else {"eps": eps}
    if eps is not None and (attack == "clean" or "eps" not in ATTACKS[attack].keywords):
        raise InputError(f"attack '{attack}' has no --eps: leave it out")
    model: torch.nn.Module = build_model(variant, len(splits.classes), mean=splits.mean, std=splits.std)
    load_weights(weights, model)
    if rate > 0:
        model = prune_l1(model, rate)
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    bound = None if attack == "clean" else partial(ATTACKS[attack], **keywords)
    return evaluate(model, batches(splits.test, images, batch_size, device), bound)
