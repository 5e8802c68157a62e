"""Fine-tuning of a pruned model: what is pruned stays pruned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from meddef.errors import InputError
from meddef.prunable import prunable_weights


@contextmanager
def zeros_kept(model: nn.Module) -> Iterator[None]:
    """Inside, the weights of ``model`` that are zero now take no gradient, so that an optimizer leaves them at zero.

    That holds for optimizers without a state from before: a zero gradient, and a weight decay of zero times zero.

    Args:
        model: its ``prunable_weights`` are looked at (Han et al. 2015, https://arxiv.org/abs/1506.02626).

    Raises:
        InputError: at the end a weight that was zero is not (something but a gradient has moved it), or at the start a
            weight is not a parameter, see ``prunable_weights``.

    >>> with zeros_kept(pruned):  # doctest: +SKIP
    ...     my_training(pruned)
    """
    masks = {name: (weight, weight != 0) for name, weight in prunable_weights(model).items()}
    handles = [
        weight.register_hook(_masking(kept)) for weight, kept in masks.values() if weight.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for name, (weight, kept) in masks.items():
        if bool(weight.detach()[~kept.to(weight.device)].any()):
            raise InputError(f"training moved pruned weights of '{name}', other than by their gradient")


def _masking(kept: Tensor) -> Any:
    return lambda gradient: gradient * kept.to(gradient.device)
