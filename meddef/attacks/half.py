"""Images in float16 or bfloat16: the attack computes in float32, and the model is asked in its own format.

In half precision an attack's own arithmetic fails before the model's does: 1e-12 is 0, a norm above 65504 is infinite,
the probability of a class that is 17 logits behind is 0, and of x + step with a small step nothing is left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks.balls import at_most

HALVES = (torch.float16, torch.bfloat16)


class InHalf(nn.Module):
    """A model in half precision for float32 images (N, C, H, W): float32 logits (N, K).

    The gradient at the logits is brought to size 1, one factor an image, before it is rounded to the model's format:
    directions are the loss's, and a loss that is nearly flat does not vanish. A difference of logits has size 1.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype, self.widened = model, dtype, Widened()

    def forward(self, x: Tensor) -> object:
        return self.widened(self.model(x.to(self.dtype)))


class Widened(nn.Module):
    """Logits (N, K) in half precision as float32, anything else as it is; backward, see ``InHalf``."""

    def forward(self, answer: object) -> object:
        return _Widen.apply(answer) if isinstance(answer, Tensor) and answer.dtype in HALVES else answer


class _Widen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.dtype = logits.dtype
        return logits.float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        size = gradient.flatten(1).abs().amax(1).view(-1, *[1] * (gradient.ndim - 1))
        return (gradient / torch.where(size == 0, 1, size)).to(ctx.dtype)


def rounded(found: Tensor, images: Tensor, *, euclidean: bool) -> Tensor:
    """``found``, float32 (..., N, C, H, W), in the format of ``images`` (N, C, H, W) and no farther from them.

    Rounded to nearest where that is no farther than the largest change of the image, itself rounded down; elsewhere
    towards the image. With ``euclidean``, towards it wherever rounding would make the whole change longer.
    """
    axes = tuple(range(1 - images.ndim, 0))
    near, change = found.to(images.dtype), _change(found, images)
    if euclidean:
        far = torch.linalg.vector_norm(
            _change(near, images), dim=axes, keepdim=True
        ) > torch.linalg.vector_norm(change, dim=axes, keepdim=True)
        return torch.where(far & (_change(near, images) > change), near.nextafter(images), near)
    most = at_most(change.amax(axes, keepdim=True), images.dtype).double()
    while bool((far := _change(near, images) > most).any()):
        near = torch.where(far, near.nextafter(images), near)
    return near


def _change(x: Tensor, images: Tensor) -> Tensor:
    return (x.double() - images.double()).abs()
