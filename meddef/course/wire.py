"""Protocol between the grader and a student's process: frames, and replies free of pickled objects.

The grader sends pickled arguments, which it made itself. Replies are JSON with tensors as safetensors: foreign data is
never unpickled.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from meddef.course.answers import Foreign

LARGEST = 64 << 20  # bytes of a frame
_LENGTH = struct.Struct("!Q")


class Silent(Exception):
    """No complete frame arrived: time ran out, the process ended, or its data is invalid."""


def send(handle: int, payload: bytes) -> None:
    """Write a frame to a pipe."""
    view = memoryview(_LENGTH.pack(len(payload)) + payload)
    while view:
        view = view[os.write(handle, view) :]


def receive(handle: int, deadline: float | None = None) -> bytes:
    """Read a frame from a pipe. Raises Silent after ``deadline`` (of ``time.monotonic``), at the end, if too large."""
    (length,) = _LENGTH.unpack(_read(handle, _LENGTH.size, deadline))
    if length > LARGEST:
        raise Silent(f"an answer larger than {LARGEST >> 20} MB")
    return _read(handle, length, deadline)


def _read(handle: int, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise Silent("time is over")
        piece = os.read(handle, min(count - len(parts), 1 << 20))
        if not piece:
            raise Silent("the process ended")
        parts += piece
    return bytes(parts)


def encode(value: Any) -> bytes:
    """Encode numbers, strings, booleans, None, tensors and lists, tuples, sets and dicts of these; else the type's
    name."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_plain(value, tensors)).encode()
    blob = save(tensors) if tensors else b""
    return _LENGTH.pack(len(header)) + header + blob


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, list | tuple | set | frozenset):
        return {"list": [_plain(entry, tensors) for entry in value]}
    if isinstance(value, dict):
        return {"pairs": [[_plain(k, tensors), _plain(v, tensors)] for k, v in value.items()]}
    return {"foreign": type(value).__name__}


def decode(payload: bytes) -> Any:
    """Decode the value; lists for tuples and sets, ``Foreign`` for other types. Raises Silent for anything else."""
    try:
        (length,) = _LENGTH.unpack_from(payload)
        header = payload[_LENGTH.size : _LENGTH.size + length]
        blob = payload[_LENGTH.size + length :]
        return _rich(json.loads(header), load(blob) if blob else {})
    except Exception:  # a hostile process may send anything, in any shape
        raise Silent("an answer that cannot be read") from None


def _rich(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "list":
        return [_rich(entry, tensors) for entry in content]
    if kind == "pairs":
        return {_rich(k, tensors): _rich(v, tensors) for k, v in content}
    return Foreign(str(content))
