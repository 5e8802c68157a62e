"""The threat model: images within eps of the original, in a norm, and within [0, 1]."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

NORMS = ("linf", "l2")
_BLOCK = 16  # images whose intermediate results stay in the cache


@dataclass(frozen=True)
class Ball(ABC):
    """Images and the radius around each; ``eps`` is float64, (N, 1, 1, 1). See the two norms below."""

    images: Tensor
    eps: Tensor

    @abstractmethod
    def random(self, generator: torch.Generator) -> Tensor: ...

    @abstractmethod
    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor: ...

    @abstractmethod
    def project(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def exact(self, x: Tensor) -> Tensor: ...

    def select(self, keep: Tensor) -> Self:
        return replace(self, images=self.images[keep], eps=self.eps[keep])


@dataclass(frozen=True)
class LinfBall(Ball):
    """max |x - images| <= eps.

    ``project`` rounds to nearest as other libraries do, so that iterates equal theirs bit for bit; it can
    leave the ball by half a unit in the last place. ``exact`` is applied once, to what is returned.
    """

    @property
    def _eps(self) -> Tensor:
        return self.eps.to(self.images.dtype)

    def random(self, generator: torch.Generator) -> Tensor:
        """Uniform in the ball, then clipped to [0, 1] (Madry et al. 2018)."""
        noise = torch.rand(
            self.images.shape, generator=generator, dtype=torch.float32, device=generator.device
        )
        return (self.images + self._eps * (2 * noise - 1).to(self.images)).clamp_(0, 1)

    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
        """Steepest ascent: ``size`` along the sign of the gradient, then back into the ball."""
        return self.project(x + size.to(x.dtype) * gradient.sign())

    def project(self, x: Tensor) -> Tensor:
        return x.clamp(self.images - self._eps, self.images + self._eps).clamp_(0, 1)

    def exact(self, x: Tensor) -> Tensor:
        """Into the largest interval of representable numbers whose ends are at most eps from the image."""
        parts = zip(self.images.split(_BLOCK), self.eps.split(_BLOCK), x.split(_BLOCK), strict=True)
        return torch.cat([_exact(images, eps, part) for images, eps, part in parts])


def _exact(images: Tensor, radius: Tensor, x: Tensor) -> Tensor:
    eps = radius.to(images.dtype)
    eps = torch.where(eps.double() > radius, eps.nextafter(torch.zeros_like(eps)), eps).double()
    wide = images.double()
    low, high = (wide - eps).to(x.dtype), (wide + eps).to(x.dtype)
    low = torch.where(wide - low.double() > eps, low.nextafter(images), low)
    high = torch.where(high.double() - wide > eps, high.nextafter(images), high)
    return x.clamp(low, high)


@dataclass(frozen=True)
class L2Ball(Ball):
    """Euclidean norm over all features of an image; otherwise as ``LinfBall``."""

    def random(self, generator: torch.Generator) -> Tensor:
        """Uniform in the ball: normal direction, radius of density r^(n-1), clipped to [0, 1]."""
        shape, where = self.images.shape, generator.device
        direction = torch.randn(shape, generator=generator, dtype=torch.float32, device=where).to(self.images)
        radius = torch.rand(self.eps.shape, generator=generator, dtype=torch.float64, device=where).to(
            self.eps
        )
        length = self.eps * radius ** (1 / self.images[0].numel())
        return (self.images + direction / _norm(direction) * length.to(direction.dtype)).clamp_(0, 1)

    def step(self, x: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
        """``size`` along the gradient's direction, then back into the ball."""
        return self.project(x + size.to(x.dtype) * gradient / _norm(gradient))

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
    norm = torch.linalg.vector_norm(x.double(), dim=tuple(range(1, x.ndim)), keepdim=True)
    return norm.clamp(min=least).to(x.dtype)


def ball(norm: str, images: Tensor, eps: Tensor) -> Ball:
    return LinfBall(images, eps) if norm == "linf" else L2Ball(images, eps)
