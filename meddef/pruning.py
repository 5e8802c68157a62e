"""L1 unstructured pruning (paper, Section III-E): the weights smallest in magnitude become zero.

The paper prunes "across convolutional and linear layers", "global one-shot"; its released code prunes each layer by the
same rate. Both are here. Biases and BatchNorm are not pruned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from meddef.errors import InputError

PRUNABLE = (nn.Conv2d, nn.Linear)
SCOPES = ("global", "layer")


def prunable_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> weight of every convolution and linear layer, in the order of ``model.named_modules()``."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, PRUNABLE)
    }


def sparsity(model: nn.Module) -> float:
    """Share of zeros among the prunable weights, in [0, 1]."""
    weights = prunable_weights(model).values()
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)


def prune_l1(model: nn.Module, rate: float, *, scope: str = "global") -> nn.Module:
    """A copy of ``model`` with the share ``rate`` of its weights set to zero, smallest magnitude first.

    Args:
        model: any module; its convolution and linear weights count. It is not changed.
        rate: in [0, 1); round(rate * n) of n weights become zero.
        scope: "global" ranks all weights together (the paper's text), "layer" each layer's own (its released code).

    Returns:
        A new model on the same device; the zeros are in the weights themselves, there are no masks.

    Among equal magnitudes those that come first (layer order, then position) are pruned first.

    Raises:
        InputError: rate or scope out of range, a weight that is not finite, nothing to prune.
    """
    return next(prune_l1_grid(model, [rate], scope=scope))


def prune_l1_grid(model: nn.Module, rates: Sequence[float], *, scope: str = "global") -> Iterator[nn.Module]:
    """``prune_l1`` for several rates from one pass over the weights; yields a new model a rate, in order."""
    if scope not in SCOPES:
        raise InputError(f"unknown pruning scope '{scope}': use one of {', '.join(SCOPES)}")
    for rate in rates:
        if not 0 <= rate < 1:
            raise InputError(f"pruning rate {rate} is out of range: use 0 <= rate < 1")
    weights = prunable_weights(model)
    if not weights:
        raise InputError("the model has no convolution or linear layer: there is nothing to prune")
    magnitudes = {name: weight.detach().abs().flatten().cpu().numpy() for name, weight in weights.items()}
    for name, values in magnitudes.items():
        if not np.isfinite(values).all():
            raise InputError(f"weight '{name}' is not finite: the model is broken, train it again")
    groups = [list(weights)] if scope == "global" else [[name] for name in weights]
    ranked = [_cuts(np.concatenate([magnitudes[name] for name in group]), rates) for group in groups]
    for index in range(len(rates)):
        pruned = copy.deepcopy(model)
        targets = prunable_weights(pruned)
        for group, cuts in zip(groups, ranked, strict=True):
            _zero([targets[name] for name in group], [magnitudes[name] for name in group], cuts[index])
        yield pruned


@dataclass(frozen=True)
class _Cut:
    """Magnitudes up to ``below`` are pruned, and of those equal to ``tied`` the first ``ties``."""

    below: float
    tied: float
    ties: int


def _cuts(magnitudes: np.ndarray, rates: Sequence[float]) -> list[_Cut]:
    ordered = np.sort(magnitudes)  # at several rates faster than a partition
    cuts = []
    for rate in rates:
        count = round(rate * len(ordered))
        cut = ordered[max(count - 1, 0)]
        first, end = np.searchsorted(ordered, cut, "left"), np.searchsorted(ordered, cut, "right")
        if count == end:
            cuts.append(_Cut(float(cut), 0.0, 0))
        else:
            cuts.append(
                _Cut(float(ordered[first - 1]) if first else 0.0, float(cut), max(count - int(first), 0))
            )
    return cuts


@torch.no_grad()
def _zero(weights: list[torch.Tensor], magnitudes: list[np.ndarray], cut: _Cut) -> None:
    ties = cut.ties
    for weight, values in zip(weights, magnitudes, strict=True):
        weight.copy_(F.hardshrink(weight, cut.below))
        if ties:
            equal = np.flatnonzero(values == cut.tied)[:ties]
            mask = torch.zeros(values.size, dtype=torch.bool)
            mask[torch.from_numpy(equal)] = True
            weight.masked_fill_(mask.reshape(weight.shape).to(weight.device), 0.0)
            ties -= len(equal)
