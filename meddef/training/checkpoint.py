"""Checkpoints: one safetensors file holding weights, optimizer state and, as JSON in its header, everything else.

The header also holds a checksum of all that, which is looked at wherever a file has one: earlier versions and other
programs write none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from meddef.atomic import replacing
from meddef.errors import InputError

_WRAPPERS = re.compile(r"^(?:(?:_orig_mod|module)\.)+")
CHECKSUM = "sha256"  # of a file's content, in its header
logger = logging.getLogger(__name__)


def save_weights(path: Path, model: nn.Module, **header: Any) -> None:
    """Write the model's state (parameters and buffers) whole or not at all; ``header`` is kept as JSON.

    ``meddef.evaluation.describe`` makes a header from which ``meddef evaluate`` selects the images.
    """
    check_savable(model)
    _save(path, _cpu(model.state_dict()), header)


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Load weights written by ``save_weights`` (or any safetensors file with the model's names); returns the header.

    Raises:
        InputError: no such file, not safetensors, or the weights of another model.
    """
    try:
        model.load_state_dict(_with_shared(_unwrapped(_read(path)[0], model), model))
        return read_header(path)
    except FileNotFoundError as error:
        raise InputError(f"no weights at {path}: train the model first, or give another file") from error
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}): delete it and train again"
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds the weights of another model: {reason}") from error


def read_header(path: Path) -> dict[str, Any]:
    """The header written by ``save_weights``; empty for other programs' files.

    Raises:
        InputError: not a whole safetensors file.
    """
    try:
        found = _header(path)
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}): delete it and train again"
        ) from error
    found.pop(CHECKSUM, None)
    return found


def describe_weights(path: Path, source: Path, **header: Any) -> None:
    """Write a copy of the weights in ``source``, with ``header`` merged into theirs."""
    _save(path, load_file(source), read_header(source) | header)


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, **header: Any) -> None:
    """Write the state from which training resumes as if uninterrupted."""
    tensors = {f"model.{name}": value for name, value in _cpu(model.state_dict()).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in _cpu(state).items()}
    _save(path, tensors, header)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and header of a checkpoint, or None (logged) where there is no usable one."""
    if not path.is_file():
        return None
    try:
        tensors, header = _read(path)
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise ValueError("it holds NaN or infinity")
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("%s is damaged (%s): training starts over", path, error)
        return None
    return tensors, header


def restore(
    path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Give model and optimizer what ``read_checkpoint`` found at ``path``.

    Raises:
        InputError: it is that of another model.
    """
    weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is the checkpoint of another model ({reason}): give another folder, or delete it"
        ) from error
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".", 2)
            states.setdefault(int(index), {})[field] = value
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, state in states.items():
        for field, value in state.items():
            state[field] = _laid_out_like(parameters[number], value)
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """``value`` with the memory layout of its parameter: PyTorch's fused Adam on a CPU pairs elements by memory
    address, and silently updates the wrong ones where layouts differ (seen with 2.15)."""
    return (
        torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if value.shape == parameter.shape
        else value
    )


def _save(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """One text in the metadata: safetensors writes several in an order of its own, and files would differ by it."""
    text = json.dumps(header | {CHECKSUM: _digest(tensors, header)}, sort_keys=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"header": text})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file; ``SafetensorError`` where they are not what was written."""
    tensors, header = load_file(path), _header(path)
    if header.pop(CHECKSUM, None) not in (None, _digest(tensors, header)):
        raise SafetensorError("its checksum does not match")
    return tensors, header


def _digest(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    """SHA-256 of the header and of each tensor's name, type, shape and bytes."""
    found = hashlib.sha256(json.dumps(json.loads(json.dumps(header)), sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        found.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _header(path: Path) -> dict[str, Any]:
    """What is written beside the tensors; empty where that is none of this package's."""
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("header", "{}")
    try:
        found = json.loads(text)
    except ValueError:  # what others keep under this name
        return {}
    return found if isinstance(found, dict) else {}


def _cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each value in separate memory: the format allows no shared memory, such as of tied weights."""
    seen: set[int] = set()
    found = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        found[name] = value.clone() if place in seen else value
        seen.add(place)
    return found


def check_savable(model: nn.Module) -> None:
    """Refuse a model whose state a safetensors file cannot hold, before training."""
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor) or is_lazy(value):
            kind = "has no shape yet: run the model on a batch once"
            if not isinstance(value, Tensor):
                kind = f"is a {type(value).__name__}, no tensor: leave get_extra_state out"
            raise InputError(f"the model's state cannot be saved: '{name}' {kind}")


def _unwrapped(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """``tensors`` under the model's names, without prefixes of ``torch.compile`` and ``DataParallel``."""
    known = model.state_dict()
    own = {_WRAPPERS.sub("", name): name for name in known}
    return {
        name if name in known else own.get(_WRAPPERS.sub("", name), name): value
        for name, value in tensors.items()
    }


def _with_shared(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """``tensors`` with the names that safetensors' own ``save_model`` omits: shared weights."""
    own = model.state_dict(keep_vars=True)
    found = dict(tensors)
    for name in own.keys() - tensors.keys():
        for other in tensors.keys() & own.keys():
            if (value := _seen_through(own[name], own[other], tensors[other])) is not None:
                found[name] = value
                break
    return found


def _seen_through(part: Tensor, whole: Tensor, written: Tensor) -> Tensor | None:
    """The value of ``part`` if ``whole``, whose memory it shares, is ``written``; None if it does not lie within it."""
    shared = part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    if not shared or part.dtype != whole.dtype or not whole.is_contiguous() or written.shape != whole.shape:
        return None
    offset = part.storage_offset() - whole.storage_offset()
    last = offset + sum((size - 1) * step for size, step in zip(part.shape, part.stride(), strict=True))
    if not part.numel() or offset < 0 or last >= whole.numel():
        return None
    return written.contiguous().flatten().as_strided(part.shape, part.stride(), offset)
