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

MB = 1 << 20
LARGEST, LARGEST_WORDS = 64 * MB, 4 * MB  # bytes of a frame, and of what is no tensor in it
_LENGTH = struct.Struct("!Q")
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
            torch.int8, torch.int16, torch.int32, torch.int64)  # fmt: skip


class Silent(Exception):
    """No complete frame passed: time ran out, the process ended, or its frame is too large."""


class Unreadable(Silent):
    """A frame came whole, but it holds no value of this protocol: the next one may."""


def send(handle: int, payload: bytes, deadline: float | None = None) -> None:
    """Write a frame to a pipe. With a ``deadline`` (of ``time.monotonic``) the pipe must not block; raises Silent."""
    view = memoryview(_LENGTH.pack(len(payload)) + payload)
    while view:
        if deadline is not None:
            _wait(handle, deadline, write=True)
        try:
            view = view[os.write(handle, view) :]
        except BlockingIOError:
            continue


def receive(handle: int, deadline: float | None = None) -> bytes:
    """Read a frame from a pipe. Raises Silent after ``deadline`` (of ``time.monotonic``), at the end, if too large."""
    (length,) = _LENGTH.unpack(_read(handle, _LENGTH.size, deadline))
    if length > LARGEST:
        raise Silent(f"an answer larger than {LARGEST // MB} MB")
    return _read(handle, length, deadline)


def _read(handle: int, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None:
            _wait(handle, deadline)
        try:
            piece = os.read(handle, min(count - len(parts), MB))
        except BlockingIOError:
            continue
        if not piece:
            raise Silent("the process ended")
        parts += piece
    return bytes(parts)


def _wait(handle: int, deadline: float, *, write: bool = False) -> None:
    """Return when the pipe can be used; raises Silent after ``deadline``."""
    left = deadline - time.monotonic()
    waiting = select.poll()
    waiting.register(handle, select.POLLOUT if write else select.POLLIN)
    if left <= 0 or not waiting.poll(1000 * left):
        raise Silent("time is over")


def encode(value: Any) -> bytes:
    """Encode numbers, strings, booleans, None, tensors and lists, tuples, sets and dicts of these; else the type's
    name. Raises ValueError if that is too large for a frame."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_plain(value, tensors)).encode()
    if len(header) > LARGEST_WORDS:
        raise ValueError(f"it is larger than {LARGEST_WORDS // MB} MB without its tensors")
    if sum(tensor.nbytes for tensor in tensors.values()) > LARGEST - 2 * LARGEST_WORDS:
        raise ValueError(f"it is larger than {(LARGEST - 2 * LARGEST_WORDS) // MB} MB")
    blob = save(tensors) if tensors else b""
    return _LENGTH.pack(len(header)) + header + blob


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        native = value.astype(value.dtype.newbyteorder("="), copy=False)
        value = torch.from_numpy(np.ascontiguousarray(native).reshape(value.shape))
    if isinstance(value, Tensor) and value.layout == torch.strided and value.dtype in _DTYPES:
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, list | tuple | set | frozenset):
        return {"list": [_plain(entry, tensors) for entry in value]}
    if isinstance(value, dict):
        return {"pairs": [[_plain(k, tensors), _plain(v, tensors)] for k, v in value.items()]}
    return {"foreign": _kind(value)}


def _kind(value: Any) -> str:
    """The type's name, with what sets the value apart from others of this type."""
    if isinstance(value, Tensor):
        return f"Tensor ({value.layout}, {value.dtype})".replace("torch.", "")
    return f"ndarray ({value.dtype})" if isinstance(value, np.ndarray) else type(value).__name__


def decode(payload: bytes) -> Any:
    """Decode the value; lists for tuples and sets (tuples in the keys of a dict), ``Foreign`` for other types.

    Raises Unreadable for anything else.
    """
    try:
        (length,) = _LENGTH.unpack_from(payload)
        if length > LARGEST_WORDS:
            raise ValueError(length)
        header = payload[_LENGTH.size : _LENGTH.size + length]
        blob = payload[_LENGTH.size + length :]
        return _rich(json.loads(header), load(blob) if blob else {})
    except Exception:  # a hostile process may send anything, in any shape
        raise Unreadable("an answer that cannot be read") from None


def _rich(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "list":
        return [_rich(entry, tensors) for entry in content]
    if kind == "pairs":
        return {_key(_rich(k, tensors)): _rich(v, tensors) for k, v in content}
    return Foreign(str(content))


def _key(value: Any) -> Any:
    return tuple(_key(entry) for entry in value) if isinstance(value, list) else value
