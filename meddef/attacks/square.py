"""Square attack (Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049): a black box, no gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import LinfBall
from meddef.attacks.host_checks import Looks
from meddef.attacks.loop import finish
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask
from meddef.attacks.randomness import Randomness, randomness
from meddef.errors import InputError

# The share of pixels in a square is halved at these fractions of the queries (their section 5).
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@for_anyone
def square(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    queries: int = 5000,
    share: float = 0.8,
    targeted: bool = False,
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Random squares at corners of the ball, kept if they raise the margin (Algorithm 1, L-infinity).

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); only queried, left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes or, with ``targeted``, the target classes.
        eps: pixel units, one number or a tensor (N,).
        queries: maximum forward passes per image; successful examples are dropped from the batch.
        share: share of the pixels in the first squares.
        targeted: towards ``labels`` instead of away from them.
        generator: generator of the squares of a whole batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (queries done, most queries).

    Returns:
        Images within ``eps`` and [0, 1] exactly.

    Raises:
        InputError: invalid input, NaN or infinite logits.
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_at_least(queries, 1, "queries")
    if images.ndim != 4:
        raise InputError(f"the square attack needs images (N, C, H, W), got shape {tuple(images.shape)}")
    if not 0 < share <= 1:
        raise InputError(f"share must be in (0, 1], got {share}")
    radius = contract.per_image(eps, images, "eps", most=1.0)
    if not radius.any():
        return images.detach().clone()
    numbers = randomness(images, generator, seed, "square")
    with contract.attacking(model, images.device), torch.no_grad():
        ball = LinfBall(images.detach().clone(), radius)
        x = _search(model, ball, Objective(labels, "margin", targeted), queries, share, numbers, progress)
        return torch.empty_like(images).copy_(finish(ball, x))


def _search(
    model: nn.Module,
    ball: LinfBall,
    objective: Objective,
    queries: int,
    share: float,
    numbers: Randomness,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    n, channels, height, width = ball.images.shape
    x = ball.step(ball.images, numbers.signs(channels, 1, width).to(ball.images), ball.eps)  # stripes
    result, place = x.clone(), torch.arange(n, device=x.device)
    highest = torch.full((n,), -torch.inf, device=x.device)
    trial, caught, looks = x, torch.zeros_like(place, dtype=torch.bool), Looks(x.device)
    for query in range(queries):
        logits = contract.check_logits_shape(
            ask(model, trial, first=query == 0), len(trial), objective.highest
        )
        looks.logits(logits)
        margin, fooled = objective.loss(logits).to(highest), objective.fooled(logits)
        better = ((margin > highest) | fooled) & ~caught
        x = torch.where(better[:, None, None, None], trial, x)
        highest = torch.where(better, margin, highest)
        caught |= fooled
        if looks.due(query):
            looks.look()
            if caught.any():
                result[place] = x
                stay = ~caught
                place, x, highest, caught = place[stay], x[stay], highest[stay], caught[stay]
                ball, objective, numbers = ball.select(stay), objective.select(stay), numbers.select(stay)
        if progress is not None:
            progress(query + 1, queries)
        if not len(place):
            break
        side = _side((query + 1) / queries, share, height, width)
        jump = _windows(side, height, width, numbers) * numbers.signs(channels, 1, 1).to(x)
        trial = ball.project(x + 2 * ball.eps.to(x.dtype) * jump)
    looks.look()
    result[place] = x
    return result


def _side(done: float, share: float, height: int, width: int) -> int:
    """Side of the square when the fraction ``done`` of the queries is spent."""
    share /= 2 ** sum(done > fraction for fraction in HALVINGS)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _windows(side: int, height: int, width: int, numbers: Randomness) -> Tensor:
    """(N, 1, height, width), bool: one square per image, uniformly placed."""
    top = numbers.integers(height - side + 1, 1, 1, 1)
    left = numbers.integers(width - side + 1, 1, 1, 1)
    rows = torch.arange(height, device=top.device).view(-1, 1) - top
    columns = torch.arange(width, device=top.device) - left
    return (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
