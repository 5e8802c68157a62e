"""L1 unstructured pruning (paper, Section III-E): the weights of smallest magnitude become zero.

The paper prunes "across convolutional and linear layers", "global one-shot"; its released code prunes each layer by the
same rate. Both are implemented. Biases and BatchNorm are not pruned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from meddef.errors import InputError
from meddef.prunable import prunable_weights

__all__ = ["prunable_weights", "prune_l1", "prune_l1_grid", "sparsity"]

SCOPES = ("global", "layer")
PART = 1 << 18
"""Magnitudes per block: intermediate results stay in the cache and in reused memory."""


def sparsity(model: nn.Module) -> float:
    """Share of zeros among the prunable weights (see ``prunable_weights``), in [0, 1].

    Raises:
        InputError: no weights, or some that ``prunable_weights`` refuses.
    """
    weights = _some_weights(model).values()
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)


def _some_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    weights = prunable_weights(model)
    if not sum(weight.numel() for weight in weights.values()):
        raise InputError("the model has no convolution or linear layer: there is nothing to prune")
    return weights


def prune_l1(model: nn.Module, rate: float, *, scope: str = "global") -> nn.Module:
    """A copy of ``model`` with the share ``rate`` of its weights set to zero, smallest magnitude first.

    Args:
        model: any module; the weights of ``prunable_weights`` count. It is not changed.
        rate: in [0, 1); round(rate * n) of n weights become zero.
        scope: "global" ranks all weights together (the paper's text), "layer" each layer's own (its released code).

    Returns:
        A new model on the same device; the zeros are in the weights themselves, without masks. Shared parts stay
        shared.

    Ties are pruned in order of layer, then position.

    Raises:
        InputError: rate or scope out of range, a weight that is not finite or that ``prunable_weights`` refuses,
            nothing to prune, a model that cannot be copied.
    """
    return next(prune_l1_grid(model, [rate], scope=scope))


def prune_l1_grid(model: nn.Module, rates: Sequence[float], *, scope: str = "global") -> Iterator[nn.Module]:
    """``prune_l1`` for several rates from one pass over the weights; yields one new model per rate, in order."""
    if scope not in SCOPES:
        raise InputError(f"unknown pruning scope '{scope}': use one of {', '.join(SCOPES)}")
    for rate in rates:
        if not 0 <= rate < 1:
            raise InputError(f"pruning rate {rate} is out of range: use 0 <= rate < 1")
    weights = _some_weights(model)
    widest = _widest(weights.values())
    magnitudes = {name: _magnitudes(weight, widest) for name, weight in weights.items()}
    for name, values in magnitudes.items():
        if not np.isfinite(values).all():
            raise InputError(f"weight '{name}' is not finite: the model is broken, train it again")
    groups = [list(weights)] if scope == "global" else [[name] for name in weights]
    cuts = [_cuts([magnitudes[name] for name in group], rates) for group in groups]
    for index in range(len(rates)):
        pruned: dict[int, torch.Tensor] = {}
        for group, cut in zip(groups, cuts, strict=True):
            kept = _zeroed(
                [weights[name] for name in group], [magnitudes[name] for name in group], cut[index], widest
            )
            for name, weight in zip(group, kept, strict=True):
                old = weights[name]
                parameter = isinstance(old, nn.Parameter)
                pruned[id(old)] = nn.Parameter(weight, old.requires_grad) if parameter else weight
        yield _copied(model, pruned)


def _copied(model: nn.Module, pruned: dict[int, torch.Tensor]) -> nn.Module:
    """A deep copy in which these objects, by id of the originals, are inserted."""
    try:
        return copy.deepcopy(model, memo=pruned)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, RuntimeError) as error:  # such as a lock, a generator, a tensor with history
        raise InputError(f"the model cannot be copied ({str(error).splitlines()[0]})") from error


def _widest(weights: Iterable[torch.Tensor]) -> torch.dtype:
    """The format in which all of them can be compared, which holds the same values; NumPy has no bfloat16."""
    common = reduce(torch.promote_types, (weight.dtype for weight in weights))
    return torch.float32 if common == torch.bfloat16 else common


def _magnitudes(weight: torch.Tensor, widest: torch.dtype) -> np.ndarray:
    """(n,), in the format ``widest``."""
    magnitudes: np.ndarray = weight.detach().abs().flatten().cpu().to(widest).numpy()
    return magnitudes


@dataclass(frozen=True)
class _Cut:
    """Magnitudes up to ``below`` are pruned, and of those equal to ``tied`` the first ``ties``."""

    below: float
    tied: float
    ties: int


def _cuts(magnitudes: Sequence[np.ndarray], rates: Sequence[float]) -> list[_Cut]:
    """The cut of each rate. Only magnitudes that share their leading 16 bits with a cut are sorted: for non-negative
    floats, these bits are in the order of the values."""
    total = sum(map(len, magnitudes))
    parts = [values[i : i + PART] for values in magnitudes for i in range(0, len(values), PART)]
    sizes = np.zeros(1 << 15, dtype=np.intp)
    for part in parts:
        sizes += np.bincount(_leading(part), minlength=len(sizes))
    counts = [round(rate * total) for rate in rates]
    chosen = np.searchsorted(sizes.cumsum(), np.maximum(counts, 1))
    near = np.zeros(len(sizes), dtype=bool)
    near[chosen] = True
    ordered = np.sort(np.concatenate([part[near[_leading(part)]] for part in parts]))
    unsorted_below = np.where(near, 0, sizes).cumsum()
    cuts = []
    for count, skipped in zip(counts, unsorted_below[chosen], strict=True):
        cut = ordered[max(count, 1) - 1 - skipped]
        first, end = (skipped + int(np.searchsorted(ordered, cut, side)) for side in ("left", "right"))
        if count == end:
            cuts.append(_Cut(float(cut), 0.0, 0))
        else:
            below = np.nextafter(cut, np.zeros_like(cut))
            cuts.append(_Cut(float(below), float(cut), max(count - first, 0)))
    return cuts


def _leading(magnitudes: np.ndarray) -> np.ndarray:
    bits = 8 * magnitudes.itemsize
    return (magnitudes.view(f"i{magnitudes.itemsize}") >> (bits - 16)).astype(np.intp)


@torch.no_grad()
def _zeroed(
    weights: Sequence[torch.Tensor], magnitudes: Sequence[np.ndarray], cut: _Cut, widest: torch.dtype
) -> list[torch.Tensor]:
    ties = cut.ties
    found = []
    for weight, values in zip(weights, magnitudes, strict=True):
        kept = F.hardshrink(weight.detach().to(widest), cut.below).to(weight.dtype)
        if ties:
            equal = np.flatnonzero(values == cut.tied)[:ties]
            mask = torch.zeros(values.size, dtype=torch.bool)
            mask[torch.from_numpy(equal)] = True
            kept.masked_fill_(mask.reshape(weight.shape).to(weight.device), 0.0)
            ties -= len(equal)
        found.append(kept)
    return found
