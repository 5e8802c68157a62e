"""Restores a caller's model after use: the single mechanism of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from meddef.caller_warnings import warn
from meddef.errors import InputError

_RANDOM = ("drop", "stochastic")  # in the name of a class: DropPath, StochasticDepth, MCDropout


class SwitchedOffWarning(UserWarning):
    """A model in evaluation mode has layers in training mode, such as Monte Carlo dropout, which are switched off."""


@contextmanager
def as_found(*models: nn.Module) -> Iterator[None]:
    """Afterwards, also after an error, the mode of every module and the gradient of every parameter are restored.

    A frozen layer (``bn.eval()`` inside ``net.train()``) stays frozen, Monte Carlo dropout (``dropout.train()`` inside
    ``net.eval()``) stays on, a parameter that takes no gradient takes none. Inside, no parameter has a gradient, so
    that a ``backward()`` adds nothing to those of the caller.

    Args:
        models: may share modules and parameters.
    """
    modes = [(module, module.training) for model in models for module in model.modules() if _has_flag(module)]
    parameters = [
        (parameter, parameter.grad, parameter.requires_grad)
        for model in models
        for parameter in model.parameters()
    ]
    try:
        for parameter, gradient, _ in parameters:
            if gradient is not None:
                parameter.grad = None
        yield
    finally:
        for module, training in modes:
            if module.training is not training:
                module.training = training
        for parameter, gradient, needed in parameters:
            if parameter.requires_grad != needed:
                parameter.requires_grad = needed
            if parameter.grad is not gradient:
                parameter.grad = gradient


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """``as_found``, and inside every module is in evaluation mode.

    Raises:
        InputError: the mode cannot be set, as for models of ``torch.export``, whose graph may be one of training.

    Warns:
        SwitchedOffWarning: a model in evaluation mode has layers in training mode that behave differently there. A
        random defence must be random in ``forward``: ``F.dropout(x, p, training=True)``.
    """
    with as_found(*models):
        for model in models:
            if not any(getattr(module, "training", False) for module in model.modules()):
                continue  # nothing to switch, which is the rule where attacks call each other
            live = _live(model)
            if _has_flag(model):
                _switch(model)
            if live:
                named = ", ".join(live[:3]) + ", ..." * (len(live) > 3)
                warn(
                    f"the model is in evaluation mode, its {named} in training mode: off here and restored "
                    "afterwards; to keep it on, call F.dropout(x, p, training=True) in forward",
                    SwitchedOffWarning,
                )
        yield


def _switch(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError as error:
        raise InputError(
            f"the model cannot be put into evaluation mode ({error}): give the module it was exported from"
        ) from error


def _live(model: nn.Module) -> list[str]:
    """Names of the layers in training mode of a model in evaluation mode, where the mode matters."""
    if not _has_flag(model) or model.training:
        return []
    return [
        f"{name or 'itself'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if _has_flag(module) and module.training and _has_modes(module)
    ]


def _has_flag(module: nn.Module) -> bool:
    """Whether it has a mode: a model of ``torch.jit.freeze`` is permanently in evaluation mode."""
    return hasattr(module, "training")


def _has_modes(module: nn.Module) -> bool:
    named = type(module).__name__.lower()
    return isinstance(module, _DropoutNd | _BatchNorm | nn.RReLU) or any(part in named for part in _RANDOM)
