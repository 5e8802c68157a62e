"""The threat model: images within eps of the original, in a norm, and within [0, 1]."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from meddef.attacks.randomness import Randomness

NORMS = ("linf", "l2")
_TINY, _HUGE = (
    1e-12,
    1e30,
)  # between them a norm is a normal number of float32, and so are steps times gradients
_BLOCK = 2**18  # numbers whose intermediate results stay in the cache, in memory that is used again


@dataclass(frozen=True)
class Ball(ABC):
    """Images and the radius around each; ``eps`` is float64, (N, 1, 1, 1). See the two norms below."""

    images: Tensor
    eps: Tensor

    @abstractmethod
    def random(self, numbers: Randomness) -> Tensor: ...

    @abstractmethod
    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor: ...

    @abstractmethod
    def project(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def exact(self, x: Tensor) -> Tensor: ...

    def select(self, keep: Tensor) -> Self:
        return replace(self, images=self.images[keep], eps=self.eps[keep])

    def take(self, other: Self) -> None:
        """Take the values of ``other``, of the same shape, in place: a recorded step reads this memory again."""
        self.images.copy_(other.images)
        self.eps.copy_(other.eps)


@dataclass(frozen=True)
class LinfBall(Ball):
    """max |x - images| <= eps.

    ``project`` rounds to nearest as other libraries do, so that iterates equal theirs bit for bit; it can
    leave the ball by half a unit in the last place. ``exact`` is applied once, to what is returned.
    """

    @property
    def _eps(self) -> Tensor:
        return self.eps.to(self.images.dtype)

    def random(self, numbers: Randomness) -> Tensor:
        """Uniform in the ball, then clipped to [0, 1] (Madry et al. 2018)."""
        noise = numbers.uniform(*self.images.shape[1:])
        return (self.images + self._eps * (2 * noise - 1).to(self.images)).clamp_(0, 1)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        return (self.images - self._eps).clamp_(min=0), (self.images + self._eps).clamp_(max=1)

    def take(self, other: Self) -> None:
        super().take(other)
        for end, value in zip(self._ends, other._ends, strict=True):
            end.copy_(value)

    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
        """Steepest ascent: ``size`` along the sign of the gradient, then back into the ball."""
        return torch.addcmul(x, gradient.sign(), size.to(x.dtype)).clamp_(*self._ends)

    def project(self, x: Tensor) -> Tensor:
        return x.clamp(*self._ends)

    def exact(self, x: Tensor) -> Tensor:
        """x in [0, 1] into the largest interval of representable numbers whose ends are at most eps from the image."""
        return torch.cat([_exact(*part) for part in self._blocks(x)])

    def fgsm_step(self, sign: Tensor, out: Tensor) -> None:
        """Into ``out`` what ``exact(step(images, sign, eps))`` is for FGSM: as far as the ball goes along ``sign``."""
        for part in self._blocks(sign, out):
            _corner(*part)

    def _blocks(self, *given: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Images, eps and the other tensors: on a CPU a few images at a time, elsewhere all at once."""
        some = max(1, _BLOCK // max(1, self.images[:1].numel()))
        count = some if self.images.device.type == "cpu" else max(1, len(self.images))
        return zip(*(x.split(count) for x in (self.images, self.eps, *given)), strict=True)


def _exact(images: Tensor, radius: Tensor, x: Tensor) -> Tensor:
    eps = at_most(radius, images.dtype)
    low, error = _sum(images, -eps)
    _bits(low).add_(error > 0)
    high, error = _sum(images, eps)
    _bits(high).add_(error < 0, alpha=-1)
    return x.clamp(low, high)


def _corner(images: Tensor, radius: Tensor, sign: Tensor, out: Tensor) -> None:
    x, error = _sum(images, at_most(radius, images.dtype) * sign)
    bits = _bits(x)
    bits.sub_((error.mul_(sign) < 0).to(bits.dtype).mul_(sign.to(bits.dtype)))
    torch.clamp(x, 0, 1, out=out)


def at_most(radius: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest number of ``dtype`` that is no larger than ``radius`` (float64)."""
    eps = radius.to(dtype)
    return torch.where(eps.double() > radius, eps.nextafter(torch.zeros_like(eps)), eps)


def _sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a + b, and the rounding error that is left to the exact sum (Knuth's TwoSum; float64 would cost thrice)."""
    total = a + b
    part = total - a
    return total, (part - total).add_(a).add_(b - part)


def _bits(x: Tensor) -> Tensor:
    """The same memory as integers: for x > 0, one more is the next larger number."""
    return x.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


@dataclass(frozen=True)
class L2Ball(Ball):
    """Euclidean norm over all features of an image; otherwise as ``LinfBall``."""

    def random(self, numbers: Randomness) -> Tensor:
        """Uniform in the ball: normal direction, radius of density r^(n-1), clipped to [0, 1]."""
        direction = numbers.normal(*self.images.shape[1:]).to(self.images)
        radius = numbers.uniform(*self.eps.shape[1:]).to(self.eps)
        length = self.eps * radius ** (1 / self.images[0].numel())
        return (self.images + direction / _norm(direction) * length.to(direction.dtype)).clamp_(0, 1)

    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
        """``size`` along the gradient's direction, however small or large it is, then back into the ball."""
        gradient, norm = _direction(gradient)
        return self.project(x + size.to(x.dtype) * gradient / norm)

    def project(self, x: Tensor) -> Tensor:
        delta = x - self.images
        return (self.images + delta * (self.eps.to(x.dtype) / _norm(delta)).clamp(max=1)).clamp_(0, 1)

    def exact(self, x: Tensor) -> Tensor:
        """Shrink, a little more each time, until the norm in float64 is at most eps."""
        shrink = 1e-7
        while bool((outside := self._length(x) > self.eps).any()):
            scale = torch.where(outside, self.eps / self._length(x) * max(1 - shrink, 0), 1)
            x = torch.where(outside, self.images + (x - self.images) * scale.to(x.dtype), x).clamp(0, 1)
            shrink *= 2
        return x

    def _length(self, x: Tensor) -> Tensor:
        return _norm(x.double() - self.images.double(), least=0)


def _norm(x: Tensor, least: float = 1e-12) -> Tensor:
    """Euclidean norm of each image, (N, 1, ..., 1), summed in float64, no less than ``least``."""
    return _length(x).clamp(min=max(least, torch.finfo(x.dtype).tiny) if least else 0).to(x.dtype)


def _direction(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient (N, ...) and its norm (N, 1, ..., 1), both divided by something where the norm under- or overflows.

    Their ratio has length 1; it is 0 where the gradient is exactly zero. Nothing is read on the host.
    """
    if gradient.dtype == torch.float64:  # whose squares leave float64
        axes = tuple(range(1, gradient.ndim))
        size = torch.linalg.vector_norm(gradient, torch.inf, dim=axes, keepdim=True)
        gradient = gradient / torch.where((size > 0) & ((size < _TINY) | (size > _HUGE)), size, 1)
        norm = _length(gradient)
    else:
        norm = _length(gradient)
        unusual = (norm > 0) & ((norm < _TINY) | (norm > _HUGE))
        size = torch.where(unusual, norm, 1).clamp(2.0**-126, 2.0**126).to(gradient.dtype)
        gradient, norm = gradient / size, norm / size.double()
    return gradient, torch.where(norm == 0, 1, norm).to(gradient.dtype)


def _length(x: Tensor) -> Tensor:
    """Euclidean norm of each image, (N, 1, ..., 1), float64."""
    return torch.linalg.vector_norm(x.double(), dim=tuple(range(1, x.ndim)), keepdim=True)


def norm_ball(norm: str, images: Tensor, eps: Tensor) -> Ball:
    return LinfBall(images, eps) if norm == "linf" else L2Ball(images, eps)
