"""The process group that trains one model, usually a single process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """Process ``rank`` (from 0) of ``size``. Every method but ``share`` must be called by all of them."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Team:
        """The default process group; a single process without one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the writing process."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's range of ``count`` items; shares differ by one at most and may be empty."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the processes, the same bits in each."""
        if self.size > 1:
            values = values.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(values)
        return values

    def agrees(self, value: object) -> bool:
        """Whether all processes gave equal values; also a barrier."""
        given: list[object] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(given, value)
        return all(other == value for other in given)
