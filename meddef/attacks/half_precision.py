"""Images in float16 or bfloat16: the attack computes in float32, the model runs in its own format.

In half precision an attack's own arithmetic fails before the model's: 1e-12 is 0, a norm above 65504 is infinite, the
probability of a class 17 logits behind is 0, and x + step equals x for a small step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks.balls import at_most
from meddef.attacks.queries import Copying

HALVES = (torch.float16, torch.bfloat16)


class InHalf(Copying):
    """A model in half precision for float32 images (N, C, H, W): float32 logits (N, K).

    The gradient at the logits is scaled to size 1, one factor per image, before it is rounded to the model's format:
    directions are kept, and a nearly flat loss does not vanish. A difference of logits has size 1.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(model)
        self.dtype, self.widened = dtype, Widened().eval()

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


def rounded(found: Tensor, images: Tensor, eps: Tensor, *, euclidean: bool) -> Tensor:
    """``found``, float32 within ``eps`` (N, 1, 1, 1) of ``images``, in their format (N, C, H, W) and within eps still.

    Rounded to nearest where that is near enough, elsewhere towards the image.
    """
    near = found.to(images.dtype)
    if euclidean:
        change = _change(near, images)
        far = torch.linalg.vector_norm(change, dim=tuple(range(1, images.ndim)), keepdim=True) > eps
        return torch.where(far & (change > _change(found, images)), near.nextafter(images), near)
    most = at_most(eps, images.dtype).double()
    while bool((far := _change(near, images) > most).any()):
        near = torch.where(far, near.nextafter(images), near)
    return near


def _change(x: Tensor, images: Tensor) -> Tensor:
    return (x.double() - images.double()).abs()
