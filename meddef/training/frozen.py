"""Frozen parts of a model in training: what takes no gradient stays as it is, statistics of its layers included.

A module is frozen where it has parameters and none of them takes a gradient. The optimizer leaves those alone;
BatchNorm (and InstanceNorm) layers within it, with parameters of their own or without, would still replace their
running statistics by those of the new images, so in training they are kept in evaluation mode and normalise by the
statistics that they have. Dropout within a frozen part stays on.
"""

from __future__ import annotations

import hashlib

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from meddef.errors import InputError


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """The layers with running statistics in frozen parts of ``model``, each once."""
    found = {
        id(layer): layer
        for part in model.modules()
        if _is_frozen(part)
        for layer in part.modules()
        if isinstance(layer, _NormBase) and layer.track_running_stats
    }
    return list(found.values())


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def check_trainable(model: nn.Module) -> None:
    """Refuse a model in which nothing is left to train."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            "nothing to train: no parameter of the model takes a gradient; set requires_grad of those to be trained"
        )


def frozen_words(model: nn.Module) -> str:
    """ "11,176,512 of 11,177,538 parameters are frozen"; empty where none is."""
    sizes = {True: 0, False: 0}
    for parameter in model.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    if not sizes[False]:
        return ""
    layers = len(frozen_norms(model))
    kept = f", with the statistics of {layers} normalisation layers" if layers else ""
    return f"frozen: {sizes[False]:,} of {sum(sizes.values()):,} parameters{kept}"


def frozen_digest(model: nn.Module) -> str:
    """What tells this choice of frozen parameters from another; empty where none is."""
    names = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16] if names else ""
