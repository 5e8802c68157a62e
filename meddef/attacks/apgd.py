"""Auto-PGD (Croce & Hein 2020, https://arxiv.org/abs/2003.01690): PGD that sets its own step size."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import NORMS, Ball, norm_ball
from meddef.attacks.host_checks import Looks
from meddef.attacks.loop import finish
from meddef.attacks.losses import Loss, Objective, check_loss, cross_entropy, own_loss
from meddef.attacks.queries import ask
from meddef.attacks.randomness import randomness
from meddef.errors import InputError

MOMENTUM = 0.75
RISING = 0.75  # share of steps with a rising loss below which the step is halved


@for_anyone
def apgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    steps: int = 100,
    norm: str = "linf",
    loss: Loss = "ce",
    targets: int = 0,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Momentum, a step of 2 eps halved where progress stalls, each halving resumed from the best point so far.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes.
        eps: radius in pixel units (``norm="l2"``: length of the perturbation), one number or a tensor (N,).
        norm: "linf" (steps along the sign of the gradient) or "l2" (along the gradient).
        steps: gradient evaluations per run, at most; successful examples are dropped from the batch.
        loss: "ce", "margin" or "dlr" (K >= 3; with targets K >= 4), or a function (logits, labels) -> (N,) that is
            pushed up from the labels and down at the targets.
        targets: 0 moves away from the label; m > 0 aims at each of the m most likely other classes in turn, at most
            K - 1 (APGD-T).
        restarts: runs from different random starts, for images that resist.
        generator: generator of the random starts of a whole batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (runs done, total runs).

    Returns:
        Images within ``eps`` and [0, 1] exactly, adversarial ones or else those of highest loss in the last run.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input.
    """
    labels = contract.check_batch(model, images, labels)
    check_loss(loss)
    contract.check_choice(norm, NORMS, "norm")
    for value, least, name in ((steps, 1, "steps"), (targets, 0, "targets"), (restarts, 1, "restarts")):
        contract.check_at_least(value, least, name)
    radius = contract.per_image(eps, images, "eps", most=1.0 if norm == "linf" else float("inf"))
    if not radius.any():
        return images.detach().clone()
    numbers = randomness(images, generator, seed, "apgd")
    with contract.attacking(model, images.device):
        clean = images.detach().clone()
        whole = norm_ball(norm, clean, radius)
        aims = _aims(model, clean, labels, loss, targets)
        result, alive = clean.clone(), torch.arange(len(clean), device=clean.device)
        for run in range(restarts * len(aims)):
            aim = aims[run % len(aims)]
            ball = whole.select(alive)
            start = ball.random(numbers)
            result[alive], fooled = _run(
                model, ball, labels[alive], None if aim is None else aim[alive], loss, steps, start
            )
            alive, numbers = alive[~fooled], numbers.select(~fooled)
            if progress is not None:
                progress(run + 1, restarts * len(aims))
            if not len(alive):
                break
        return torch.empty_like(images).copy_(finish(whole, result))


@dataclass
class _State:
    """The images still in a run, (m, ...) each; ``rises`` counts steps with a rising loss since the last check.

    ``caught`` images fool the model and are dropped at the next check.
    """

    images: Tensor
    eps: Tensor
    labels: Tensor
    target: Tensor
    place: Tensor
    x: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step: Tensor
    rises: Tensor
    checked_loss: Tensor
    halved: Tensor
    caught: Tensor

    def select(self, keep: Tensor) -> "_State":
        return _State(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})


def _run(
    model: nn.Module,
    ball: Ball,
    labels: Tensor,
    target: Tensor | None,
    loss: Loss,
    steps: int,
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """One run from x (Algorithm 1): the images reached, and which of them fool the model."""
    targeted = target is not None
    aim = labels if target is None else target
    result, done = x.clone(), torch.zeros_like(labels, dtype=torch.bool)
    highest, looks = int(labels.max()), Looks(x.device)
    value, gradient, fooled = _evaluate(model, x, labels, target, loss, highest, looks, first=True)
    looks.look()
    contract.warn_if_zero(gradient)
    no = torch.zeros_like(done)
    state = _State(
        ball.images, ball.eps, labels, aim, torch.arange(len(x), device=x.device), x, x, gradient, value,
        x, gradient, value, 2 * ball.eps, torch.zeros_like(value), value, ~no, fooled,
    )  # fmt: skip
    wait = max(int(0.22 * steps), 1)
    until_check = wait
    for step in range(steps):
        if step == 0 or looks.due(step - 1):
            looks.look()
            if state.caught.any():
                leaving = state.place[state.caught]
                result[leaving], done[leaving] = state.x[state.caught], True
                state = state.select(~state.caught)
                if not len(state.x):
                    return result, done
        ball = replace(ball, images=state.images, eps=state.eps)
        ahead = ball.step(state.x, state.gradient, state.step)
        keep = MOMENTUM if step else 1.0
        ahead = ball.project(state.x + keep * (ahead - state.x) + (1 - keep) * (state.x - state.before))
        if looks.every > 1:
            ahead = torch.where(_wide(state.caught, ahead), state.x, ahead)  # as it was when it fooled
        state.before, state.x = state.x, ahead
        target = state.target if targeted else None
        value, state.gradient, fooled = _evaluate(model, state.x, state.labels, target, loss, highest, looks)
        state.caught = state.caught | fooled
        state.rises += value > state.loss
        state.loss = value
        _keep_best(state)
        until_check -= 1
        if not until_check:
            _halve(state, wait)
            wait = max(wait - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
            until_check = wait
    looks.look()
    result[state.place] = torch.where(_wide(state.caught, state.x), state.x, state.best)
    done[state.place] = state.caught
    return result, done


def _keep_best(state: _State) -> None:
    better = state.loss > state.best_loss
    wide = _wide(better, state.x)
    state.best = torch.where(wide, state.x, state.best)
    state.best_gradient = torch.where(wide, state.gradient, state.best_gradient)
    state.best_loss = torch.where(better, state.loss, state.best_loss)


def _halve(state: _State, waited: int) -> None:
    """Conditions 1 and 2 of section 3.1: few rises, or no better best since a check that did not halve."""
    stalled = ~state.halved & (state.checked_loss >= state.best_loss)
    halve = ((state.rises <= RISING * waited) | stalled) & ~state.caught
    wide = _wide(halve, state.x)
    state.step = torch.where(wide, state.step / 2, state.step)
    state.x = torch.where(wide, state.best, state.x)
    state.gradient = torch.where(wide, state.best_gradient, state.gradient)
    state.rises, state.checked_loss, state.halved = torch.zeros_like(state.rises), state.best_loss, halve


def _wide(mask: Tensor, x: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (x.ndim - 1))


def _evaluate(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    target: Tensor | None,
    loss: Loss,
    highest: int,
    looks: Looks,
    *,
    first: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (N,), its gradient, and success (N,) at x; ``first``: see ``ask``."""
    leaf = x.detach().requires_grad_()
    logits = contract.check_logits_shape(ask(model, leaf, first=first), len(leaf), highest)
    looks.logits(logits)
    if target is None:
        value = Objective(labels, loss, highest=highest).loss(logits)
    else:
        value = targeted_loss(logits, labels, target, loss)
    gradient = contract.unchecked_gradient(value.sum(), leaf)
    looks.gradient(gradient)
    return value.detach(), gradient, logits.argmax(1) != labels


def targeted_loss(logits: Tensor, labels: Tensor, target: Tensor, loss: Loss) -> Tensor:
    """(N,), rising towards ``target``: -CE; z_t - z_y; or that over z_(1) - (z_(3) + z_(4)) / 2 (equation 7)."""
    if callable(loss):
        return -own_loss(loss, logits, target)
    if loss == "ce":
        return -cross_entropy(logits, target)
    rows = torch.arange(len(logits), device=logits.device)
    gap = logits[rows, target] - logits[rows, labels]
    if loss == "margin":
        return gap
    ordered = logits.sort(dim=1, descending=True).values
    return gap / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + 1e-12)


def _aims(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss, targets: int) -> list[Tensor | None]:
    """None (away from the label), or the most likely other classes, one (N,) a run."""
    if not targets:
        return [None]
    with torch.no_grad():
        logits = contract.check_logits(ask(model, images, first=True), labels)
    if loss == "dlr" and logits.shape[1] < 4:
        raise InputError("the targeted dlr loss needs at least 4 classes; use loss='margin'")
    others = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return list(others[:, : min(targets, logits.shape[1] - 1)].T)
