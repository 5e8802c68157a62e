"""FGSM, BIM and PGD: BIM and PGD share one loop (gradient, step, projection); FGSM is one step to the boundary of the
ball.

On a GPU the steps of BIM and PGD are recorded and replayed (see ``meddef.attacks.capture``); open ``climbing(device)``
around a loop over batches, as ``meddef.evaluation.evaluate`` does, to record them once.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from meddef.attacks import contract, reach
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import NORMS, LinfBall, norm_ball
from meddef.attacks.capture import climbing
from meddef.attacks.fast import gradient_source, layout
from meddef.attacks.loop import ActiveBatch, Trace, finish
from meddef.attacks.losses import Loss, Objective
from meddef.attacks.queries import ask
from meddef.attacks.randomness import randomness

Progress = Callable[[int, int], None]
STOPS = ("never", "first")


@for_anyone
def fgsm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor | Sequence[float],
    targeted: bool = False,
    loss: Loss = "ce",
    fast: bool = False,
    precision: str = "float32",
) -> Tensor:
    """Fast gradient sign method: x + eps sign(dL/dx) (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572).

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); run in evaluation mode and left unchanged (modes,
            running statistics, ``.grad``, global random numbers).
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes or, with ``targeted``, the target classes.
        eps: radius in pixel units, one number or a tensor (N,); 0 returns the image bit for bit. A list is a grid that
            shares one gradient.
        targeted: towards ``labels`` instead of away from them.
        loss: "ce", "margin" or "dlr" (see ``meddef.attacks.losses``), or a function (logits (N, K), labels (N,)) ->
            (N,) that is pushed up or, with ``targeted``, down.
        fast: take gradients from a folded copy of the model (see ``meddef.attacks.fast``).
        precision: "float32" or "bf16", of the gradient pass; success is verified on the original model.

    Returns:
        Images of the same shape, within ``eps`` and [0, 1] exactly; (len(eps), N, C, H, W) for a list of eps.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input. Images
            whose gradient is exactly zero are counted in a ``ZeroGradientWarning``.
    """
    objective = Objective(contract.check_batch(model, images, labels), loss, targeted)
    images = images.detach()
    several = isinstance(eps, Sequence)
    grid = list(eps) if isinstance(eps, Sequence) and not isinstance(eps, str) else [eps]
    spheres = [LinfBall(images, contract.per_image(radius, images, "eps", most=1.0)) for radius in grid]
    sign = images.new_zeros(()).expand(images.shape)
    fast = fast and images.device.type != "cuda"  # on a GPU a copy costs more than the single step
    positive = torch.stack([ball.eps.flatten() > 0 for ball in spheres])
    some, every = torch.stack([positive.any(1), positive.all(1)]).tolist()
    if any(some):
        with contract.attacking(model, images.device):
            start = images.clone() if images.is_inference() else images
            x = layout(start, fast).detach().requires_grad_()
            source = gradient_source(model, x.detach(), fast=fast, precision=precision, once=True)
            logits = contract.check_logits_shape(ask(source, x, first=True), len(x), objective.highest)
            contract.check_finite(logits)
            gradient = contract.unchecked_gradient(objective.loss(logits).sum(), x)
        contract.check_first_gradient(gradient)
        sign = gradient.sign()
    results = images.new_empty((len(grid), *images.shape)) if several else torch.empty_like(images)[None]
    for ball, result, moves in zip(spheres, results, every, strict=True):
        ball.fgsm_step(sign, result)
        if not moves:
            result.copy_(torch.where(ball.eps == 0, images, result))  # -0.0 too
    return results if several else results[0]


def bim(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    step_size: float | Tensor,
    steps: int,
    targeted: bool = False,
    loss: Loss = "ce",
    stop: str = "never",
    fast: bool = False,
    precision: str = "float32",
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Tensor:
    """Basic iterative method: PGD from the image (Kurakin et al. 2017, https://arxiv.org/abs/1607.02533).

    Args:
        model, images, labels, targeted, loss, fast, precision: as in ``fgsm``.
        eps: radius in pixel units, one number or a tensor (N,).
        step_size, steps, stop, progress, trace: as in ``pgd``.

    Returns:
        Images of the same shape, within ``eps`` and [0, 1] exactly.

    Raises:
        InputError: as ``fgsm``.
    """
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
        fast=fast,
        precision=precision,
        progress=progress,
        trace=trace,
    )


@for_anyone
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
    seed: int = 0,
    norm: str = "linf",
    targeted: bool = False,
    loss: Loss = "ce",
    stop: str = "never",
    fast: bool = False,
    precision: str = "float32",
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Tensor:
    """Projected gradient descent (Madry et al. 2018, https://arxiv.org/abs/1706.06083).

    Args:
        model, images, labels, targeted, loss, fast, precision: as in ``fgsm``.
        eps: radius in pixel units (``norm="l2"``: length of the perturbation), one number or a tensor (N,); 0 returns
            the image bit for bit.
        step_size: pixel units (``norm="l2"``: length of the step), one number or a tensor (N,).
        steps: gradient evaluations per restart.
        random_start: start uniformly in the ball rather than at the image. The start is derived from ``seed`` and the
            image's pixels, independent of the batch (see ``meddef.attacks.randomness``).
        restarts: an image keeps the restart that fools the model or, failing that, has the highest loss. All start at
            random (or, with ``random_start=False``, at the image); for a worst case that includes the start at the
            image, use ``ensemble``, or ``bim`` in addition.
        generator: source of the starts of the whole batch instead.
        seed: of the random starts.
        norm: "linf" (sign of the gradient) or "l2" (direction of the gradient).
        stop: "never" returns the final iterate, the protocol of the papers; "first" the first iterate that fools the
            model; successful examples are dropped from the batch.
        progress: called with (steps done, total steps) after every step.
        trace: an empty ``Trace`` to be filled; costs one extra forward pass per restart.

    Returns:
        Images of the same shape, within ``eps`` and [0, 1] exactly.

    Raises:
        InputError: as ``fgsm``. Steps that cannot reach eps cause a ``ShortReachWarning``.
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_choice(norm, NORMS, "norm")
    contract.check_choice(stop, STOPS, "stop")
    contract.check_at_least(steps, 1, "steps")
    contract.check_at_least(restarts, 1, "restarts")
    radius = contract.per_image(eps, images, "eps", most=1.0 if norm == "linf" else float("inf"))
    size = contract.per_image(step_size, images, "step_size")
    objective = Objective(labels, loss, targeted)
    if not radius.any():
        return images.detach().clone()
    _warn_if_short(radius, size, steps, random_start=random_start)
    numbers = randomness(images, generator, seed, "pgd")
    with contract.attacking(model, images.device), climbing(images.device, steps * restarts) as climb:
        stands_in = fast or (images.is_cuda and precision == "bf16")
        ball = norm_ball(norm, layout(images.detach().clone(), stands_in), radius)
        source = gradient_source(model, ball.images, fast=fast, precision=precision)
        active = ActiveBatch(
            model, source, objective, ball, size, torch.arange(len(images)).to(labels), len(images)
        )
        best, best_loss = ball.images.clone(), images.new_full(labels.shape, -torch.inf)
        best_fooled = torch.zeros_like(labels, dtype=torch.bool)
        for restart in range(restarts):
            start = active.ball.random(numbers) if random_start else active.ball.images
            report = _reporter(progress, restart, steps, restarts)
            x = finish(active.ball, climb(active, start, steps, stop=stop, report=report, trace=trace))
            if restarts == 1 and trace is None:
                best = x
                break
            score, fooled = active.judge(x)
            if trace is not None:
                trace.add(active, score, fooled)
            stronger = (fooled == best_fooled[active.index]) & (score > best_loss[active.index])
            won = stronger | (fooled & ~best_fooled[active.index]) | (restart == 0)
            place = active.index[won]
            best[place], best_loss[place], best_fooled[place] = x[won], score[won], fooled[won]
            if stop == "first":
                active, numbers = active.select(~fooled), numbers.select(~fooled)
                if not len(active.index):
                    break
    return torch.empty_like(images).copy_(best)


def _warn_if_short(radius: Tensor, size: Tensor, steps: int, *, random_start: bool) -> None:
    """``ShortReachWarning`` for the image with the smallest reach relative to eps; both (N, 1, 1, 1), L-inf or L2."""
    share = torch.where(radius > 0, size / radius, torch.inf)  # an image with eps 0 cannot move
    shortest = int(share.flatten().argmin())
    eps, step = float(radius.flatten()[shortest]), float(size.flatten()[shortest])
    reach.warn_if_short(eps, step, steps, random_start=random_start)


def _reporter(progress: Progress | None, restart: int, steps: int, restarts: int) -> Callable[[int], None]:
    def report(step: int) -> None:
        if progress is not None:
            progress(restart * steps + step + 1, restarts * steps)

    return report
