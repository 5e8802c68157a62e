"""Whether a model is still what it was: a submission works on a copy, which is compared with the original."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


def difference(model: nn.Module, original: nn.Module) -> str:
    """What differs between a model and its original, in words; empty if nothing does. Gradients are left out."""
    ours, theirs = dict(model.named_modules()), dict(original.named_modules())
    if {name: type(part) for name, part in ours.items()} != {
        name: type(part) for name, part in theirs.items()
    }:
        return "its layers"
    mine, other = _tensors(model), _tensors(original)
    if list(mine) != list(other):
        return "its weights"
    for name, value in mine.items():
        if _bytes(value) != _bytes(other[name]):
            return f"`{name}`"
        if value.requires_grad != other[name].requires_grad:
            return f"requires_grad of `{name}`"
    for name, part in ours.items():
        if part.training != theirs[name].training:
            return "training mode" if part.training else "evaluation mode"
        if hooks(part) != hooks(theirs[name]) or "forward" in vars(part):
            return f"a hook on `{name or type(part).__name__}`"
    return ""


def hooks(part: nn.Module) -> int:
    """Number of functions hooked into this module, not into its parts."""
    return sum(len(getattr(part, kind, ())) for kind in _HOOKS)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _bytes(value: Tensor) -> tuple[Any, ...]:
    flat = value.detach().cpu().contiguous().reshape(-1)
    return value.dtype, tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()


def describe(model: nn.Module) -> dict[str, Any]:
    """What ``imitate`` needs to make another copy look like this one: plain values and tensors."""
    return {
        "state": {name: value.detach() for name, value in _tensors(model).items()},
        "slopes": any(weight.grad is not None for weight in model.parameters()),
        "frozen": [name for name, weight in model.named_parameters() if not weight.requires_grad],
        "training": {name: part.training for name, part in model.named_modules()},
        "hooked": [name for name, part in model.named_modules() if hooks(part) or "forward" in vars(part)],
    }


def imitate(model: nn.Module, description: dict[str, Any]) -> None:
    """Make ``model`` look like the described copy. Raises an exception of any kind if it cannot be one of it."""
    tensors, state = _tensors(model), description["state"]
    if set(state) != set(tensors):
        raise ValueError("other weights")
    for name, value in state.items():
        if value.dtype != tensors[name].dtype or value.shape != tensors[name].shape:
            raise ValueError(f"another shape of {name}")
        tensors[name].data.copy_(value)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in description["frozen"])
        if description["slopes"]:
            weight.grad = weight.detach().clone()
    modes = description["training"]
    for name, part in model.named_modules():
        part.training = modes[name] is True
        if name in description["hooked"]:
            part.register_forward_hook(lambda *_: None)


def hand_back(model: nn.Module, original: nn.Module, *, weights: bool) -> None:
    """Give ``original`` the gradients of its copy, the batches that the copy saw, and with ``weights`` its state."""
    if weights:
        original.load_state_dict(model.state_dict())
    for mine, theirs in zip(model.parameters(), original.parameters(), strict=True):
        theirs.grad = mine.grad
    if isinstance(seen := getattr(original, "seen", None), list):
        seen[:] = getattr(model, "seen", seen)
