"""The weights of a model that pruning ranks: each once, none computed from others."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from meddef.errors import InputError

FORMATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PRUNABLE = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear, nn.Bilinear
)  # fmt: skip
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def prunable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weight of every convolution (transposed ones too), linear and bilinear layer and attention projection
    (``nn.MultiheadAttention``), in the order of ``model.named_modules()``.

    A weight shared by several layers appears once, under its first name. Recurrent layers, embeddings and parameters of
    custom modules are excluded.

    Raises:
        InputError: a weight that is computed from others before a forward pass (weight norm, spectral norm, any
            parametrization, masks of ``torch.nn.utils.prune``), or is scripted, quantised, complex or uninitialised, or
            two that share memory without being one parameter. The message names the layer and the remedy.
    """
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        _check_exchangeable(name, module)
        for attribute in _attributes(module):
            weight = _plain(name, module, attribute)
            if weight is not None and not any(weight is other for other in found.values()):
                found[f"{name}.{attribute}" if name else attribute] = weight
    rest = {
        name: parameter
        for name, parameter in model.named_parameters()
        if not is_lazy(parameter) and not any(parameter is other for other in found.values())
    }
    _check_apart(found, rest)
    return found


def _attributes(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.MultiheadAttention):
        return _PROJECTIONS
    return ("weight",) if isinstance(module, PRUNABLE) else ()


def _plain(layer: str, module: nn.Module, attribute: str) -> Tensor | None:
    """The tensor itself; None where the layer has none of that name."""
    kept = module._parameters if attribute in module._parameters else module._buffers
    if attribute not in kept:
        raise InputError(
            f"{_called(layer)} computes its {attribute} from other tensors, so zeros in it would not last: first call "
            f"{_remedy(module, attribute)}"
        )
    weight = kept[attribute]
    if weight is not None and is_lazy(weight):
        raise InputError(f"{_called(layer)} has no {attribute} yet: run the model on a batch once")
    if weight is not None and weight.dtype not in FORMATS:
        raise InputError(
            f"{_called(layer)} has a {attribute} in {weight.dtype}: only real floats of 16, 32 or 64 bits are pruned"
        )
    return weight


def _called(layer: str) -> str:
    return f"layer '{layer}'" if layer else "the model"


def _remedy(module: nn.Module, attribute: str) -> str:
    if parametrize.is_parametrized(module, attribute):
        return f"torch.nn.utils.parametrize.remove_parametrizations(layer, '{attribute}')"
    if hasattr(module, f"{attribute}_mask"):
        return f"torch.nn.utils.prune.remove(layer, '{attribute}')"
    kind = "weight" if hasattr(module, f"{attribute}_g") else "spectral"
    return f"torch.nn.utils.remove_{kind}_norm(layer, '{attribute}')"


def _check_exchangeable(layer: str, module: nn.Module) -> None:
    """Refuse a layer whose weights are not replaceable tensors."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(f"{_called(layer)} is scripted: prune the model first, then torch.jit.script it")
    if inspect.isfunction(getattr(type(module), "weight", None)):
        raise InputError(f"{_called(layer)} is quantised: prune the model first, then quantise it")


def _check_apart(weights: dict[str, Tensor], rest: Mapping[str, Tensor]) -> None:
    """Refuse a weight that shares memory with another parameter, also one that is not pruned, such as an embedding: a
    copy would separate them."""
    spans = sorted(_spans({**weights, **rest}))
    for (_, end, one), (start, _, other) in pairwise(spans):
        if start < end and (one in weights or other in weights):
            raise InputError(
                f"'{one}' and '{other}' are two parameters that share memory: make them one parameter"
            )


def _spans(weights: dict[str, Tensor]) -> Iterator[tuple[int, int, str]]:
    """First byte, end and name of each weight that has memory."""
    for name, weight in weights.items():
        if weight.numel() and weight.device.type != "meta" and weight.layout == torch.strided:
            last = sum((size - 1) * step for size, step in zip(weight.shape, weight.stride(), strict=True))
            yield weight.data_ptr(), weight.data_ptr() + (last + 1) * weight.element_size(), name
