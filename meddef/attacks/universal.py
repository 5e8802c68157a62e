"""Universal perturbations: one δ for all images, computed on some and evaluated on others.

- "hirano": the algorithm of Moosavi-Dezfooli et al. 2017 (https://arxiv.org/abs/1610.08401) with FGSM for DeepFool, as
  Hirano, Minagi and Takemoto 2021 (https://doi.org/10.1186/s12880-020-00530-y) used it on chest X-rays and OCT: image
  by image: where δ does not yet fool the model but one further step does, the step is kept and projected.
- "sgd": batch after batch, a step along the sign of the gradient of the batch's loss, projected (after Shafahi et al.
  2020, https://arxiv.org/abs/1811.11304), keeping the epoch with the highest fooling rate; images are processed in
  parallel, which is many times faster. The loss is the margin, whose gradient does not vanish for confident
  predictions.

The fooling rate is the share of images whose prediction δ changes, regardless of the true class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.attacks import contract, reach
from meddef.attacks.balls import LinfBall, at_most
from meddef.attacks.losses import Objective
from meddef.attacks.queries import Copying, ask
from meddef.errors import InputError

METHODS = ("hirano", "sgd")
STEPS = {"hirano": 1 / 2, "sgd": 1 / 10}  # as shares of eps, larger for few steps


def universal(
    model: nn.Module,
    images: Tensor,
    *,
    eps: float,
    method: str = "sgd",
    epochs: int = 10,
    step_size: float | None = None,
    batch_size: int = 32,
    generator: torch.Generator | None = None,
    seed: int = 0,
) -> Tensor:
    """One perturbation (1, C, H, W) of L∞ size at most ``eps`` that changes the model's predictions on ``images``.

    No labels are needed: the reference is the model's own prediction. ``perturbed`` adds it to images.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), float32 or float64, in [0, 1]: those to compute it on.
        eps: pixel units, one number.
        method: one of ``METHODS``.
        epochs: maximum passes over all images; stops when all are fooled.
        step_size: pixel units; None takes the share of ``eps`` in ``STEPS``, or what makes all steps 2.5 ``eps``.
            (Hirano et al. took 0.0024 where pixels range from -1 to 1; a step too short to change any prediction leaves
            their δ at zero.)
        batch_size: batch size of "sgd" and of the evaluation.
        generator: for the order of images; None creates one from ``seed``.
        seed: of that generator.

    Raises:
        InputError: invalid images, logits or settings.
    """
    contract.check_choice(method, METHODS, "method")
    contract.check_at_least(epochs, 1, "epochs")
    contract.check_at_least(batch_size, 1, "batch_size")
    contract.check_batch(model, images, torch.zeros(len(images), dtype=torch.int64))
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"a universal perturbation is computed in float32 or float64, got {images.dtype}")
    if not len(images):
        raise InputError("no images for a universal perturbation")
    radius = contract.per_image(eps, images[:1], "eps", most=1.0)
    eps = float(radius)
    steps = epochs * (len(images) if method == "hirano" else -(-len(images) // batch_size))
    default = max(STEPS[method], reach.REACH / steps) * eps
    size = contract.per_image(default if step_size is None else step_size, images[:1], "step_size")
    reach.warn_if_short(eps, float(size), steps, random_start=False)
    numbers = generator or torch.Generator().manual_seed(seed)
    delta = torch.zeros_like(images[:1]).detach()
    if eps == 0:
        return delta
    with contract.attacking(model, images.device):
        fit = _Fit(
            Copying(model), images.detach().clone(), batch_size, at_most(radius, images.dtype), size.to(delta)
        )
        best, most = delta, 0
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=numbers)
            delta = fit.one_by_one(delta, order) if method == "hirano" else fit.in_batches(delta, order)
            if (count := fit.fooled(delta)) >= most:
                best, most = delta, count
            if count == len(images):
                break
    return delta if method == "hirano" else best


def perturbed(images: Tensor, delta: Tensor, eps: float) -> Tensor:
    """``images`` (N, C, H, W) plus ``delta`` (1, C, H, W), in [0, 1] and within ``eps`` exactly.

    Args:
        images: (N, C, H, W), in [0, 1].
        delta: (1, C, H, W), as ``universal`` returns it.
        eps: pixel units, one number.

    Raises:
        InputError: shapes that do not fit, pixels outside [0, 1], or an ``eps`` that is none.
    """
    if delta.shape != (1, *images.shape[1:]):
        raise InputError(f"delta must have the shape (1, C, H, W) of images, got {tuple(delta.shape)}")
    contract.check_range(images)
    images = images.detach()
    ball = LinfBall(images, contract.per_image(eps, images, "eps", most=1.0))
    return ball.exact((images + delta.to(images)).clamp(0, 1))


class _Fit:
    """``eps`` and ``size``, the step, are (1, 1, 1, 1). Perturbed images are held to [0, 1]; δ is held to ``eps``."""

    def __init__(self, model: nn.Module, images: Tensor, batch: int, eps: Tensor, size: Tensor) -> None:
        self.model, self.images, self.batch, self.eps, self.size = model, images, batch, eps, size
        with torch.no_grad():
            self.answers = torch.cat([self._logits(x).argmax(1) for x in images.split(batch)])

    @torch.no_grad()
    def fooled(self, delta: Tensor) -> int:
        """Number of images whose prediction changes."""
        after = [self._logits(self._with(x, delta)).argmax(1) for x in self.images.split(self.batch)]
        return int((torch.cat(after) != self.answers).sum())

    def in_batches(self, delta: Tensor, order: Tensor) -> Tensor:
        for index in order.split(self.batch):
            gradient = self._gradient(index, delta, "margin").sum(0, keepdim=True)
            delta = self._clipped(delta + self.size * gradient.sign())
        return delta

    def one_by_one(self, delta: Tensor, order: Tensor) -> Tensor:
        for index in order.split(1):
            shifted, answer = self._with(self.images[index], delta), self.answers[index]
            if (self._answer(shifted) != answer).any():
                continue
            stepped = (shifted + self.size * self._gradient(index, delta, "ce").sign()).clamp(0, 1)
            if (self._answer(stepped) != answer).any():
                delta = self._clipped(stepped - self.images[index])
        return delta

    def _gradient(self, index: Tensor, delta: Tensor, loss: str) -> Tensor:
        """Gradient of the loss away from the model's predictions, at the perturbed images (M, C, H, W)."""
        x = self._with(self.images[index], delta).requires_grad_()
        return contract.input_gradient(Objective(self.answers[index], loss).loss(self._logits(x)).sum(), x)

    def _with(self, images: Tensor, delta: Tensor) -> Tensor:
        return (images + delta).clamp(0, 1)

    def _clipped(self, delta: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(delta, self.eps), -self.eps)

    @torch.no_grad()
    def _answer(self, images: Tensor) -> Tensor:
        return self._logits(images).argmax(1)

    def _logits(self, images: Tensor) -> Tensor:
        logits = contract.check_output(ask(self.model, images), len(images))
        contract.check_finite(logits)
        return logits
