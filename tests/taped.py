"""A stand-in for CUDA graphs on a CPU.

A CUDA graph replays kernels and none of the Python around them. A tape does the same: what reads a value on the host
cannot be taped, what the host decided stays decided, and every result has its one place in memory.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Keeps the operations below autograd with their tensors; ``replay`` runs them again in the same memory."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = [i for part in args if isinstance(part, list) for i in part if isinstance(i, Tensor)]
        masks = [index for index in indices if index.dtype is torch.bool]
        if any(func.name().startswith(f"aten::{name}") for name in self.READS) or masks:
            raise RuntimeError(f"{func} needs the host")
        given = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, given))
        return given

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, given in self.operations:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(given), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def eagerly(step: Callable[[], None]) -> Callable[[], None]:
    return step


def taped(step: Callable[[], None]) -> Callable[[], None]:
    step()
    tape = Tape()
    with tape:
        step()
    return tape.replay
