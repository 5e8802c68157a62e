"""Lossless storage of a pruned model's weights: a compressed mask and the compressed non-zero values.

The file is safetensors like any other weights; a tensor with many zeros is replaced by its three parts.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from meddef.atomic import replacing
from meddef.errors import InputError

PARTS = (".sparse_shape", ".sparse_mask", ".sparse_values")
_WORTH_IT = 0.3  # share of zeros


def save_sparse(path: Path, model: nn.Module) -> None:
    """Write the model's state (parameters and buffers), packed, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file(pack(state), temporary)


def load_sparse(path: Path, model: nn.Module) -> None:
    """Load what ``save_sparse`` wrote.

    Raises:
        InputError: no such file, not whole, or the weights of another model.
    """
    try:
        model.load_state_dict(unpack(load_file(path)))
    except FileNotFoundError as error:
        raise InputError(f"no weights at {path}") from error
    except (SafetensorError, zlib.error, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a whole file of packed weights ({error}): write it again") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds the weights of another model: {reason}") from error


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` (on the CPU, contiguous) with each float32 tensor of many zeros replaced by its parts."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dtype == torch.float32 and value.numel() and (value == 0).float().mean() > _WORTH_IT:
            packed |= dict(zip((name + part for part in PARTS), _split(value), strict=True))
        else:
            packed[name] = value
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that ``pack`` was given, bit for bit."""
    state: dict[str, Tensor] = {}
    for key, value in packed.items():
        if key.endswith(PARTS[0]):
            name = key.removesuffix(PARTS[0])
            state[name] = _join(*(packed[name + part] for part in PARTS))
        elif not key.endswith(PARTS[1:]):
            state[key] = value
    return state


def _split(value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    bits = value.flatten().numpy().view(np.uint32)
    kept = bits != 0
    planes = (
        bits[kept].view(np.uint8).reshape(-1, 4).T
    )  # signs and exponents together compress, mantissas do not
    return torch.tensor(value.shape), _deflated(np.packbits(kept)), _deflated(planes)


def _join(shape: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    sizes = shape.tolist()
    kept = np.unpackbits(_inflated(mask), count=math.prod(sizes)).astype(bool)
    bits = np.zeros(len(kept), np.uint32)
    bits[kept] = np.ascontiguousarray(_inflated(values).reshape(4, -1).T).view(np.uint32)[:, 0]
    return torch.from_numpy(bits.view(np.float32)).reshape(sizes)


def _deflated(values: np.ndarray) -> Tensor:
    return torch.frombuffer(bytearray(zlib.compress(values.tobytes())), dtype=torch.uint8)


def _inflated(values: Tensor) -> np.ndarray:
    return np.frombuffer(zlib.decompress(values.numpy().tobytes()), np.uint8)
