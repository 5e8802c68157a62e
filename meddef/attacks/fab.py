"""FAB (Croce & Hein 2020, https://arxiv.org/abs/1907.02044): the nearest adversarial image, in L-infinity."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import LinfBall
from meddef.attacks.host_checks import Looks
from meddef.attacks.loop import finish
from meddef.attacks.queries import ask
from meddef.attacks.randomness import randomness

_TINY = 1e-20  # sums over an image of numbers from here to 1 / _TINY stay numbers of float32
ALPHA_MAX, OVERSHOOT, BACKWARD = 0.1, 1.05, 0.9  # alpha_max, eta, beta of the paper


@for_anyone
def fab(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    steps: int = 100,
    targets: int | None = None,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Iterated projection onto the linearised boundary to each other class (Algorithm 1, targeted as FAB-T).

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes.
        eps: pixel units, one number or a tensor (N,); an image is dropped once an adversarial example within eps is
            found.
        steps: gradient evaluations per run, at most.
        targets: how many of the most likely other classes to try, in turn; None is all K - 1.
        restarts: the first run starts at the image, the others at random within eps / 2 of it.
        generator: generator of the random starts of a whole batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (runs done, total runs).

    Returns:
        Images within ``eps`` and [0, 1] exactly, the nearest adversarial examples; where none is within eps, the
        nearest found, projected into the ball, or the image itself if none was found.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input.
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_at_least(steps, 1, "steps")
    contract.check_at_least(restarts, 1, "restarts")
    contract.check_at_least(1 if targets is None else targets, 1, "targets")
    radius = contract.per_image(eps, images, "eps", most=1.0)
    if not radius.any():
        return images.detach().clone()
    numbers = randomness(images, generator, seed, "fab")
    with contract.attacking(model, images.device):
        whole = LinfBall(images.detach().clone(), radius)
        with torch.no_grad():
            logits = contract.check_logits(ask(model, whole.images, first=True), labels)
        others = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
        aims = others[:, : logits.shape[1] - 1][:, :targets].T
        best, reach = whole.images.clone(), torch.full_like(radius, torch.inf)
        right = logits.argmax(1) == labels
        reach[~right] = 0  # already misclassified
        alive = torch.arange(len(images), device=images.device)
        for run in range(restarts * len(aims)):
            left = (reach > radius).flatten()[alive]
            alive, numbers = alive[left], numbers.select(left)
            if not len(alive):
                break
            ball = whole.select(alive)
            start = ball.images
            if run >= len(aims):
                start = LinfBall(ball.images, ball.eps / 2).random(numbers)
            found, distance = _run(model, ball, labels[alive], aims[run % len(aims)][alive], start, steps)
            nearer = distance < reach[alive]
            best[alive] = torch.where(nearer, found, best[alive])
            reach[alive] = torch.where(nearer, distance, reach[alive])
            if progress is not None:
                progress(run + 1, restarts * len(aims))
        return torch.empty_like(images).copy_(finish(whole, whole.project(best)))


def _run(
    model: nn.Module, ball: LinfBall, labels: Tensor, target: Tensor, x: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The nearest adversarial images found and their distances, (N, 1, 1, 1), infinite where none was found."""
    best, reach = ball.images.clone(), torch.full_like(ball.eps, torch.inf)
    place, highest, looks = torch.arange(len(x), device=x.device), int(labels.max()), Looks(x.device)
    for step in range(steps):
        leaf = x.detach().requires_grad_()
        logits = contract.check_logits_shape(ask(model, leaf), len(leaf), highest)
        looks.logits(logits)
        rows = torch.arange(len(leaf), device=leaf.device)
        gap = logits[rows, target] - logits[rows, labels]
        normal = contract.unchecked_gradient(gap.sum(), leaf)
        looks.gradient(normal)
        if step == 0:
            contract.warn_if_zero(normal)
        x = _towards_boundary(leaf.detach(), ball.images, normal, -gap.detach())
        with torch.no_grad():
            logits = contract.check_logits_shape(ask(model, x), len(x), highest)
            looks.logits(logits)
            fooled = logits.argmax(1) != labels
        distance = (x.double() - ball.images.double()).abs().flatten(1).amax(1).view_as(ball.eps)
        nearer = fooled.view_as(ball.eps) & (distance < reach[place])
        best[place] = torch.where(nearer, x, best[place])
        reach[place] = torch.where(nearer, distance, reach[place])
        x = torch.where(fooled.view_as(ball.eps), ball.images + BACKWARD * (x - ball.images), x)
        if not looks.due(step):
            continue
        looks.look()
        stay = (reach[place] > ball.eps).flatten()
        if not stay.all():
            place, x, ball, labels, target = (
                place[stay],
                x[stay],
                ball.select(stay),
                labels[stay],
                target[stay],
            )
            if not len(place):
                break
    looks.look()
    return best, reach


def _towards_boundary(x: Tensor, images: Tensor, normal: Tensor, need: Tensor) -> Tensor:
    """From x and from the image to the hyperplane normal . (z - x) = need, averaged, a little beyond, clipped."""
    largest = normal.abs().flatten(1).amax(1)
    unusual = (largest > 0) & ((largest < _TINY) | (largest > 1 / _TINY))
    if normal.device.type != "cpu" or bool(unusual.any()):  # no host check on a GPU
        scale = torch.where(unusual, largest, 1)
        need, normal = need / scale, normal / scale.view(-1, *[1] * (x.ndim - 1))
    from_image = need - (normal * (images - x)).flatten(1).sum(1)
    move_x, move_image = _nearest(x, normal, need), _nearest(images, normal, from_image)
    a, b = (move.abs().flatten(1).amax(1).clamp(min=1e-8) for move in (move_x, move_image))
    alpha = (a / (a + b)).clamp(max=ALPHA_MAX).view(-1, *[1] * (x.ndim - 1))
    ahead = (1 - alpha) * (x + OVERSHOOT * move_x) + alpha * (images + OVERSHOOT * move_image)
    return ahead.clamp(0, 1)


def _nearest(x: Tensor, normal: Tensor, need: Tensor) -> Tensor:
    """The smallest L-infinity move d with normal . d = need and x + d in [0, 1]; as far as there is room if none is.

    Every feature moves by min(t, its room) in the direction that helps; the gain is piecewise linear in t, so t is
    found from the rooms in ascending order.
    """
    direction = normal.sign() * need.sign().view(-1, *[1] * (x.ndim - 1))
    room = torch.where(direction > 0, 1 - x, x).flatten(1).double()
    rising = room.sort(dim=1)
    weight = normal.abs().flatten(1).double().gather(1, rising.indices)
    spent = (weight * rising.values).cumsum(1)
    spent, left = spent - weight * rising.values, weight.sum(1, keepdim=True) - weight.cumsum(1) + weight
    wanted = need.abs().double()[:, None]
    k = torch.searchsorted(spent + left * rising.values, wanted).clamp(max=room.shape[1] - 1)
    t = (wanted - spent.gather(1, k)) / left.gather(1, k).clamp(min=1e-30)
    t = t.clamp(min=0).minimum(rising.values.gather(1, k))
    return direction * t.minimum(room).view_as(x).to(x.dtype)
