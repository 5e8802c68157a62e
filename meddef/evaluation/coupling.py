"""Does a model's prediction for an image depend on the other images of its batch?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.caller_warnings import warn
from meddef.errors import InputError
from meddef.evaluation.judge import logits_for

SAME = 0.02
"""Of the largest logit: rounding in half precision, which differs between batch sizes, is below."""
FEW = 2
"""Images that are given alone, of a batch of more: what fails on a single one, as BatchNorm does, may accept two."""

CHANCE = 10
"""Times the difference between two equal passes, which is that of a random model: less may be chance."""


class CoupledBatchWarning(UserWarning):
    """The logits of an image change with the other images of its batch."""


def warn_if_coupled(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Warn if the first images get other logits alone than in their batch, which have nothing to do with chance.

    Such a model (BatchNorm without running statistics, a mean over the whole batch) has no robust accuracy per image:
    attacks drop images that are fooled from the batch, and any other batch size gives another number.

    Args:
        model: in evaluation mode; a random one is not warned of. Not asked if it accepts only one batch size.
        images, labels: a batch (N, C, H, W) in [0, 1] and (N,); with one image nothing can be told.

    Warns:
        CoupledBatchWarning: once, at the nearest line outside this package.
    """
    few = min(FEW, len(images) - 1)
    if not few:
        return
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        try:
            alone = logits_for(model, images[:few], labels[:few])
            together = logits_for(model, images, labels)[:few]
            room = SAME * float(together.abs().max())
            if (found := _apart(alone, together)) <= room:
                return
            chance = _apart(together, logits_for(model, images, labels)[:few])
        except (RuntimeError, ValueError, TypeError, InputError):  # a model exported for one batch size
            return
    if found > CHANCE * chance:
        warn(
            "the model's logits for an image depend on the other images of its batch (BatchNorm without running "
            "statistics, or a mean over the batch?): the result holds for this batch size alone, and attacks, which "
            "drop fooled images from the batch, may look weak; give the model fixed statistics",
            CoupledBatchWarning,
        )


def _apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())
