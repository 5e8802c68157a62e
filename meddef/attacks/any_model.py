"""Adapts attacks written for float32 and well-behaved models to arbitrary models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from meddef.attacks.capture import kept
from meddef.attacks.contract import per_image
from meddef.attacks.half_precision import HALVES, InHalf, rounded
from meddef.attacks.loop import Trace
from meddef.attacks.queries import Copying, WritesIntoInput
from meddef.attacks.targets import check_targets

P = ParamSpec("P")
Attack = Callable[Concatenate[nn.Module, Tensor, Tensor, P], Tensor]


def for_anyone(attack: Attack[P]) -> Attack[P]:
    """The attack for half precision (see ``meddef.attacks.half_precision``) and models that write into their input.

    For the latter the attack restarts with ``Copying``: random numbers and a trace are reset, ``progress`` restarts at
    0. For other models it costs one check of the images.
    """
    known = signature(attack).parameters.get("norm")
    usual = None if known is None else known.default

    @wraps(attack)
    def run(model: nn.Module, images: Tensor, labels: Tensor, *args: P.args, **settings: P.kwargs) -> Tensor:
        if not isinstance(model, nn.Module) or not isinstance(images, Tensor):
            return attack(model, images, labels, *args, **settings)  # which refuses it
        if settings.get("targeted"):
            check_targets(images, labels)
        if images.dtype in HALVES:
            half = images.detach()
            in_half = kept(model, ("in half", half.dtype), lambda: InHalf(model, half.dtype))
            found = attack(in_half, half.float(), labels, *args, **settings)
            return _in_format(found, half, settings.get("eps"), euclidean=settings.get("norm", usual) == "l2")
        generator, trace = settings.get("generator"), settings.get("trace")
        state = generator.get_state() if isinstance(generator, torch.Generator) else None
        try:
            return attack(model, images, labels, *args, **settings)
        except WritesIntoInput:
            if isinstance(generator, torch.Generator) and state is not None:
                generator.set_state(state)
            if isinstance(trace, Trace):
                trace.loss.clear()
                trace.fooled.clear()
        copying = kept(model, "copying", lambda: Copying(model))
        return attack(copying, images, labels, *args, **settings)

    return run


def _in_format(found: Tensor, half: Tensor, eps: Any, *, euclidean: bool) -> Tensor:
    """The result of an attack with ``eps`` (for ``fgsm`` also a list; None: no bound), in the format of its images."""
    if isinstance(eps, Sequence):
        grid = [
            _in_format(part, half, one, euclidean=euclidean) for part, one in zip(found, eps, strict=True)
        ]
        return torch.stack(grid)
    radius = half.new_tensor(torch.inf, dtype=torch.float64) if eps is None else per_image(eps, half, "eps")
    return torch.empty_like(half).copy_(rounded(found, half, radius, euclidean=euclidean))
