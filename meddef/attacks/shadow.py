"""A private surrogate of a model on a GPU, in one number format and channels-last, whose weights can be refreshed.

Autocast converts weights to bfloat16 in every step and leaves BatchNorm in float32; here the whole network is converted
once. The standardisation of this package's models stays in float32, since in bfloat16 bright pixels are 1/256 apart.
The surrogate is approximate: attacks verify success on the original model.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.arithmetic import without_tf32
from meddef.attacks import contract
from meddef.attacks.batchnorm_folding import named_tensors, refusing, without_batch_norm
from meddef.attacks.capture import kept
from meddef.attacks.queries import ask
from meddef.errors import InputError
from meddef.models.meddef import Normalized

_CLOSE = 1e-3  # of logits in the model's own format, relative and absolute
_ROUNDING = 2.0**-8  # bfloat16 keeps 8 binary digits: a number is off by at most this part of it


class Shadow(nn.Module):
    """A copy in evaluation mode without gradients of weights: float (N, C, H, W) to logits (N, K).

    ``refresh`` copies the model's current weights and running statistics in place, so that a recorded CUDA graph of the
    shadow stays valid. Parameters of the model may change in place.

    Args:
        model: on its device, in evaluation mode.
        fold: fold every BatchNorm into the convolution before it.
        dtype: of the network; None keeps the model's. Logits are float32 unless kept.
        whole: convert the network once; otherwise leave that to autocast.

    Raises:
        InputError: ``fold`` and ``torch.fx`` cannot trace the model.
    """

    def __init__(
        self, model: nn.Module, *, fold: bool, dtype: torch.dtype | None, whole: bool = True
    ) -> None:
        super().__init__()
        inner = model.network if isinstance(model, Normalized) else model
        self.dtype, self.whole, self.scale, self.shift = dtype, whole, None, None
        if isinstance(model, Normalized):
            self.scale = 1 / model.std.detach()
            self.shift = -model.mean.detach() * self.scale
        network, pairs = without_batch_norm(inner) if fold else (copy.deepcopy(inner), {})
        network.requires_grad_(False).eval()
        self._folds = [_Fold(inner, network, *pair) for pair in pairs.items()]
        folded = {id(tensor) for one in self._folds for tensor in one.sources}
        self.network = network.to(dtype=dtype if whole else None, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for one in self._folds:
            one.find(self.network)
        there, given = named_tensors(network), named_tensors(inner)
        names = [
            name
            for name, tensor in given.items()
            if name in there and id(tensor) not in folded and tensor.is_floating_point()
        ]  # counters are skipped: they are unused, and tensors of one dtype are copied in one launch
        self._into, self._from = [there[name] for name in names], [given[name] for name in names]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the model's weights and running statistics in place, without waiting for the device."""
        into, values = list(self._into), [tensor.detach() for tensor in self._from]
        scales, shifts = _Fold.scales_and_shifts(self._folds)
        for one, scale, shift in zip(self._folds, scales, shifts, strict=True):
            into += [one.weight, one.bias]
            values += [one.convolution.weight.detach() * scale.view(-1, 1, 1, 1), shift]
        if into:
            torch._foreach_copy_(into, values)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is not None and self.shift is not None:
            x = torch.addcmul(self.shift.to(x.dtype), x, self.scale.to(x.dtype))
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        turned = self.dtype if self.dtype is not None and self.whole else x.dtype
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not None and not self.whole):
            logits = self.network(x.to(dtype=turned, memory_format=layout))
        return logits.float() if self.dtype is not None and isinstance(logits, Tensor) else logits

    @torch.no_grad()
    def departure(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """The difference of its loss from the model's in float32, and a bound for rounding; waits for the device.

        Both are cross-entropies: the former the mean over the images of |loss of the shadow - loss of the model|. The
        latter: in bfloat16 each of L layers with weights rounds its input and its weights. 2 L such errors of at most
        2^-8 add up like a random walk, to 2^-8 sqrt(2 L) of the largest logit, and a loss moves at most twice as far
        as the logits. In the model's own format a thousandth stands for 2^-8 sqrt(2 L).

        Args:
            model: the original, in evaluation mode.
            images: (N, C, H, W).
            labels: (N,).
        """
        with without_tf32():
            given, here = model(images).float(), self(images).float()
        losses = (F.cross_entropy(logits, labels, reduction="none") for logits in (given, here))
        apart = (next(losses) - next(losses)).abs().mean()
        weighted = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
        layers = sum(isinstance(module, weighted) for module in self.network.modules())
        part = _CLOSE if self.dtype is None else _ROUNDING * math.sqrt(2 * layers)
        mean, largest = torch.stack([apart, given.abs().max()]).tolist()
        return mean, 2 * part * largest


class _Fold:
    """A convolution and the BatchNorm after it, and the convolution that replaces both."""

    def __init__(self, source: nn.Module, network: nn.Module, convolution: str, norm: str) -> None:
        self.name = convolution
        self.convolution = cast(nn.Conv2d, source.get_submodule(convolution))
        self.norm = cast(nn.BatchNorm2d, source.get_submodule(norm))
        mean = cast(Tensor, self.norm.running_mean)
        self.gain = torch.ones_like(mean) if self.norm.weight is None else self.norm.weight
        self.offset = torch.zeros_like(mean) if self.norm.bias is None else self.norm.bias
        self.start = torch.zeros_like(mean) if self.convolution.bias is None else self.convolution.bias
        parts = (*self.convolution.parameters(), *self.norm.parameters(), *self.norm.buffers())
        self.sources: list[Tensor] = list(parts)

    def find(self, network: nn.Module) -> None:
        """The tensors to write to, after conversion of the network."""
        stands = cast(nn.Conv2d, network.get_submodule(self.name))
        self.weight, self.bias = stands.weight, cast(Tensor, stands.bias)

    @staticmethod
    def scales_and_shifts(folds: list[_Fold]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """gain / sqrt(var + eps), and offset + (start - mean) scale, (channels,) each, with few launches."""
        if not folds:
            return (), ()
        norms = [one.norm for one in folds]
        spread = torch._foreach_add(
            [cast(Tensor, norm.running_var) for norm in norms], [n.eps for n in norms]
        )
        torch._foreach_sqrt_(spread)
        scales = torch._foreach_div([one.gain.detach() for one in folds], spread)
        means = [cast(Tensor, norm.running_mean) for norm in norms]
        shifts = torch._foreach_sub([one.start.detach() for one in folds], means)
        torch._foreach_mul_(shifts, scales)
        torch._foreach_add_(shifts, [one.offset.detach() for one in folds])
        return tuple(scales), tuple(shifts)


def shadow_of(model: nn.Module, images: Tensor, *, fold: bool, dtype: torch.dtype | None) -> Shadow | None:
    """The shadow of a model, kept for the surrounding ``climbing`` and refreshed at every call.

    None where the network cannot be copied.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W); the first is used to check the folded copy when it is made.

    Raises:
        InputError: with ``fold``, ``torch.fx`` cannot trace the model, or the copy's logits differ from its.
    """
    made = kept(model, ("shadow", fold, dtype), lambda: _checked(model, images[:1], fold=fold, dtype=dtype))
    if made is not None:
        made.refresh()
    return made


def _checked(model: nn.Module, some: Tensor, *, fold: bool, dtype: torch.dtype | None) -> Shadow | None:
    with torch.no_grad(), without_tf32():
        if fold:
            given = contract.check_output(ask(model, some, first=True), len(some))
            with refusing("copy"):
                near = Shadow(model, fold=True, dtype=None)(some)
            if not torch.allclose(given, near, rtol=_CLOSE, atol=_CLOSE):
                raise InputError("fast=True changes this model's logits (BatchNorm folding); leave fast out")
        for whole in (True, False):
            try:
                made = Shadow(model, fold=fold, dtype=dtype, whole=whole)
                made(some)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError):  # float32 constants inside; not to be copied
                continue
            return made
    return None
