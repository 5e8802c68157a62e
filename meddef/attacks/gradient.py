"""FGSM, BIM and PGD: one visible loop (gradient, step, project), of which FGSM is the one-step case.

Settings shared by the three:

- ``model``: takes (N, C, H, W) in [0, 1], returns logits (N, K); it is run in evaluation mode and left as
  it was found (modes, running statistics, ``.grad``, global random numbers).
- ``images``: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
- ``labels``: (N,), the true classes or, with ``targeted=True``, the classes to reach.
- ``eps``: radius in pixel units, one number or a tensor (N,); 0 gives back the image bit for bit.
- ``loss``: "ce", "margin" or "dlr" (see ``meddef.attacks.losses``).

They return images of the same shape, within ``eps`` and [0, 1] exactly, and raise ``meddef.errors.InputError``
on bad input, NaN or infinite logits, or a model whose output does not depend on its input. Images whose first
gradient is exactly zero are counted in a ``ZeroGradientWarning``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.balls import NORMS, Ball, LinfBall, ball
from meddef.attacks.losses import Goal

Progress = Callable[[int, int], None]
STOPS = ("never", "first")


@dataclass
class Trace:
    """Loss and success of every iterate, one (N,) tensor each: steps + 1 a restart, the starting point first.

    An image that has left the batch (``stop="first"``) keeps its last values.
    """

    loss: list[Tensor] = field(default_factory=list)
    fooled: list[Tensor] = field(default_factory=list)

    def add(self, index: Tensor, total: int, loss: Tensor, fooled: Tensor) -> None:
        for rows, values in ((self.loss, loss), (self.fooled, fooled)):
            row = rows[-1].clone() if rows else values.new_zeros(total)
            row[index] = values.detach()
            rows.append(row)


@dataclass(frozen=True)
class _Run:
    """One batch on its way: what is attacked, how far it may move, and which images of the call these are."""

    model: nn.Module
    goal: Goal
    sphere: Ball
    size: Tensor
    index: Tensor

    def select(self, keep: Tensor) -> "_Run":
        return replace(
            self,
            goal=self.goal.select(keep),
            sphere=self.sphere.select(keep),
            size=self.size[keep],
            index=self.index[keep],
        )


def fgsm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor | Sequence[float],
    targeted: bool = False,
    loss: str = "ce",
) -> Tensor:
    """Fast gradient sign method: x + eps sign(dL/dx) (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572).

    A list of eps is a grid: one gradient serves them all and the result is (len(eps), N, C, H, W).
    """
    goal = Goal(contract.check_batch(model, images, labels), loss, targeted)
    images = images.detach()
    grid = list(eps) if isinstance(eps, Sequence) else [eps]
    spheres = [LinfBall(images, contract.per_image(radius, images, "eps", most=1.0)) for radius in grid]
    results = [images.clone() for _ in grid]
    if any(bool(sphere.eps.any()) for sphere in spheres):
        with contract.attacking(model, images.device):
            x = images.clone().requires_grad_()
            gradient = contract.input_gradient(goal.loss(_logits(model, x, goal)).sum(), x)
        contract.warn_if_zero(gradient)
        results = [_finish(sphere, sphere.step(images, gradient, sphere.eps)) for sphere in spheres]
    return torch.stack(results) if isinstance(eps, Sequence) else results[0]


def bim(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    step_size: float | Tensor,
    steps: int,
    targeted: bool = False,
    loss: str = "ce",
    stop: str = "never",
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Tensor:
    """Basic iterative method: PGD from the image (Kurakin et al. 2017, https://arxiv.org/abs/1607.02533)."""
    return pgd(
        model,
        images,
        labels,
        eps=eps,
        step_size=step_size,
        steps=steps,
        random_start=False,
        targeted=targeted,
        loss=loss,
        stop=stop,
        progress=progress,
        trace=trace,
    )


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    step_size: float | Tensor,
    steps: int,
    random_start: bool = True,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    norm: str = "linf",
    targeted: bool = False,
    loss: str = "ce",
    stop: str = "never",
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Tensor:
    """Projected gradient descent (Madry et al. 2018, https://arxiv.org/abs/1706.06083).

    Args:
        step_size: pixel units (``norm="l2"``: length of the step), one number or a tensor (N,).
        steps: gradient evaluations a restart.
        random_start: start uniformly in the ball rather than at the image.
        restarts: an image keeps the restart that fools the model or, failing that, has the highest loss.
        generator: source of the random start; None is a fresh one with seed 0, so a call repeats exactly.
        norm: "linf" (sign of the gradient) or "l2" (direction of the gradient).
        stop: "never" returns the final iterate, the protocol of the papers; "first" the first iterate that
            fools the model, and images leave the batch as soon as they do.
        progress: called with (steps done, steps in all) after every step.
        trace: an empty ``Trace`` to be filled; costs one forward pass more a restart.
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_choice(norm, NORMS, "norm")
    contract.check_choice(stop, STOPS, "stop")
    contract.check_at_least(steps, 1, "steps")
    contract.check_at_least(restarts, 1, "restarts")
    images = images.detach()
    radius = contract.per_image(eps, images, "eps", most=1.0 if norm == "linf" else float("inf"))
    size = contract.per_image(step_size, images, "step_size")
    everyone = torch.arange(len(images), device=images.device)
    run = _Run(model, Goal(labels, loss, targeted), ball(norm, images, radius), size, everyone)
    if not radius.any():
        return images.clone()

    generator = generator or torch.Generator().manual_seed(0)
    best, best_loss = images.clone(), images.new_full((len(images),), -torch.inf)
    best_fooled = torch.zeros_like(everyone, dtype=torch.bool)
    with contract.attacking(model, images.device):
        for restart in range(restarts):
            start = run.sphere.random(generator) if random_start else run.sphere.images
            report = _reporter(progress, restart, steps, restarts)
            x = _finish(run.sphere, _climb(run, start, steps, stop, report, trace))
            if restarts == 1 and trace is None:
                return x
            score, fooled = _judge(run, x)
            if trace is not None:
                trace.add(run.index, len(images), score, fooled)
            kept_fooled, kept_loss = best_fooled[run.index], best_loss[run.index]
            better = (
                (fooled & ~kept_fooled) | ((fooled == kept_fooled) & (score > kept_loss)) | (restart == 0)
            )
            won = run.index[better]
            best[won], best_loss[won], best_fooled[won] = x[better], score[better], fooled[better]
            if stop == "first":
                run = run.select(~fooled)
                if not len(run.index):
                    break
    return best


def _climb(
    run: _Run, x: Tensor, steps: int, stop: str, report: Callable[[int], None], trace: Trace | None
) -> Tensor:
    """The loop: gradient, step, project. Images that are fooled leave it if stop is "first"."""
    result, place = x.clone(), torch.arange(len(x), device=x.device)
    for step in range(steps):
        x = x.detach().requires_grad_()
        logits = _logits(run.model, x, run.goal)
        loss = run.goal.loss(logits)
        if stop == "first" or trace is not None:
            fooled = run.goal.fooled(logits)
            if trace is not None:
                trace.add(run.index, int(run.index.max()) + 1, loss, fooled)
            if stop == "first" and bool(fooled.all()):
                result[place] = x.detach()
                return result
        gradient = contract.input_gradient(loss.sum(), x)
        if step == 0:
            contract.warn_if_zero(gradient)
        x = x.detach()
        if stop == "first" and bool(fooled.any()):
            result[place[fooled]] = x[fooled]
            place, x, gradient, run = place[~fooled], x[~fooled], gradient[~fooled], run.select(~fooled)
        x = run.sphere.step(x, gradient, run.size)
        report(step)
    result[place] = x
    return result


def _logits(model: nn.Module, x: Tensor, goal: Goal) -> Tensor:
    return contract.check_logits(model(x), goal.labels)


def _judge(run: _Run, x: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and success of each image, without a gradient."""
    with torch.no_grad():
        logits = _logits(run.model, x, run.goal)
        return run.goal.loss(logits), run.goal.fooled(logits)


def _finish(sphere: Ball, x: Tensor) -> Tensor:
    """Exact bounds, no NaN, and the very image where eps is 0."""
    return torch.where(sphere.eps == 0, sphere.images, sphere.exact(contract.check_finite(x)))


def _reporter(progress: Progress | None, restart: int, steps: int, restarts: int) -> Callable[[int], None]:
    def report(step: int) -> None:
        if progress is not None:
            progress(restart * steps + step + 1, restarts * steps)

    return report
