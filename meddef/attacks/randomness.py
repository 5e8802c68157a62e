"""Random numbers derived from the image: the same in any batch, order, active set or number of processes.

Number j of draw d for an image is the 64-bit mixer of SplitMix64 (Steele, Lea & Flood 2014,
https://doi.org/10.1145/2660193.2660195) applied to key + golden * (d 2^32 + j): a counter-based generator, which
needs no state and runs on the device of the images. The key comes from the seed and from the image's own pixels,
rounded to 16 bits, so that images need no index. Grey values of 8 or 16 bits give the same key on any device; for
interpolated images, a difference in the last bit changes the key. Identical images have identical random numbers.
"""

from __future__ import annotations

import operator
import zlib
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from meddef.errors import InputError

_GOLDEN = 0x9E3779B97F4A7C15
_LEVELS = 65535


class Randomness(ABC):
    """Random numbers for a batch of N images; every call of a method is a new draw."""

    @abstractmethod
    def uniform(self, *shape: int) -> Tensor:
        """float32 (N, *shape) in [0, 1)."""

    @abstractmethod
    def select(self, keep: Tensor) -> Self:
        """The same for a subset of the images: an index (M,) or a mask (N,)."""

    def signs(self, *shape: int) -> Tensor:
        """float32 (N, *shape), each -1 or 1."""
        return torch.where(self.uniform(*shape) < 0.5, -1.0, 1.0)

    def integers(self, below: int, *shape: int) -> Tensor:
        """int64 (N, *shape) in [0, below)."""
        return (self.uniform(*shape).double() * below).long()

    def normal(self, *shape: int) -> Tensor:
        """float32 (N, *shape), standard normal."""
        inside = self.uniform(*shape).double() + 2.0**-25  # the middle of each of the 2^24 intervals
        return (2.0**0.5 * torch.erfinv(2 * inside - 1)).float()


class PerImage(Randomness):
    """Counter-based, see the top of this file.

    Args:
        images: (N, ...), floating point, in [0, 1].
        seed: any integer, of which the last 64 bits count.
        stream: name of the consumer, so that two attacks with one seed draw different numbers.
    """

    def __init__(self, images: Tensor, seed: int, stream: str) -> None:
        levels = (images.detach().flatten(1).double() * _LEVELS).round().long()
        weights = _mixed(torch.arange(levels.shape[1], device=images.device) * _signed(_GOLDEN)) | 1
        start = _signed((seed * _GOLDEN + zlib.crc32(stream.encode())) % 2**64)
        self.keys = _mixed(_mixed((levels * weights).sum(1)) + _mixed(torch.full_like(levels[:, 0], start)))
        self.draws = 0

    def uniform(self, *shape: int) -> Tensor:
        count = int(torch.Size(shape).numel())
        places = torch.arange(count, device=self.keys.device) + (self.draws << 32)
        self.draws += 1
        bits = _mixed(self.keys[:, None] + places * _signed(_GOLDEN))
        return (_shifted(bits, 40).float() * 2.0**-24).view(-1, *shape)

    def select(self, keep: Tensor) -> PerImage:
        part = object.__new__(PerImage)
        part.keys, part.draws = self.keys[keep], self.draws
        return part


class FromGenerator(Randomness):
    """Whole batches from the caller's generator, in order of the calls."""

    def __init__(self, images: Tensor, generator: torch.Generator) -> None:
        self.like, self.generator = images[:, :0], generator

    def uniform(self, *shape: int) -> Tensor:
        where = self.generator.device
        drawn = torch.rand(
            len(self.like), *shape, generator=self.generator, dtype=torch.float32, device=where
        )
        return drawn.to(self.like.device)

    def select(self, keep: Tensor) -> FromGenerator:
        return FromGenerator(self.like[keep], self.generator)


def randomness(images: Tensor, generator: torch.Generator | None, seed: int, stream: str) -> Randomness:
    """The random source of an attack: the caller's generator or, without one, numbers derived from the images.

    Raises:
        InputError: a seed that is no whole number (1.0 would draw other numbers than 1).
    """
    try:
        seed = operator.index(seed)
    except TypeError as error:
        raise InputError(f"seed must be a whole number, got {seed!r}") from error
    return PerImage(images, seed, stream) if generator is None else FromGenerator(images, generator)


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    return value - 2**64 if value >= 2**63 else value


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Logical shift to the right (that of int64 is arithmetic)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mixed(bits: Tensor) -> Tensor:
    """The output function of SplitMix64, a bijection of int64 to itself."""
    bits = (bits ^ _shifted(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _signed(0x94D049BB133111EB)
    return bits ^ _shifted(bits, 31)
