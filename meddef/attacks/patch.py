"""Adversarial patch: a square in which pixels may take any value (after Brown et al. 2017, per image)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.losses import Loss, Objective
from meddef.attacks.queries import ask
from meddef.attacks.randomness import Randomness, randomness
from meddef.errors import InputError

PLACES = ("random", "centre", "corner")


@for_anyone
def patch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    share: float = 0.02,
    steps: int = 40,
    step_size: float = 0.05,
    place: str = "random",
    restarts: int = 1,
    targeted: bool = False,
    loss: Loss = "ce",
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """One square per image, filled by sign steps of the gradient; every other pixel stays as it is, bit for bit.

    A marker or a sticker in the field of view, and no ε: within the square any value in [0, 1] may stand. The content
    is found for each image on its own, which is the worst case of that square; Brown et al. 2017
    (https://arxiv.org/abs/1712.09665) optimise one content for all images and places, which is weaker.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes or, with ``targeted``, the target classes.
        share: area of the square as a share of the image, from 0 (nothing changes) to 1; the side is rounded down to
            whole pixels and ends at the shorter side of the image.
        steps: gradient evaluations per restart.
        step_size: change of a pixel of the square per step.
        place: "random" (drawn for each image and restart), "centre" or "corner" (top left).
        restarts: further random contents and places, for images that resist.
        targeted: towards ``labels`` instead of away from them.
        loss: "ce", "margin" or "dlr", or a function (logits (N, K), labels (N,)) -> (N,).
        generator: generator of places and contents of a whole batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (steps done, total steps).

    Returns:
        Images in [0, 1]; of each the first that fools the model, or the one of the highest loss.

    Raises:
        InputError: invalid input, a square of no pixel, NaN or infinite logits, a model whose output does not depend on
            its input. Images whose gradient is exactly zero within the square of the first step are counted in a
            ``ZeroGradientWarning``.

    >>> evaluate(model, loader, partial(patch, share=0.05)).robust_accuracy  # doctest: +SKIP
    """
    labels = contract.check_batch(model, images, labels)
    if images.ndim != 4:
        raise InputError(f"a patch needs images (N, C, H, W), got shape {tuple(images.shape)}")
    contract.check_number(share, "share", least=0, most=1)
    contract.check_number(step_size, "step_size", least=1e-6, most=1)
    contract.check_choice(place, PLACES, "place")
    contract.check_at_least(steps, 1, "steps")
    contract.check_at_least(restarts, 1, "restarts")
    height, width = images.shape[2:]
    side = side_of(share, height, width)
    if share and not side:
        raise InputError(
            f"a share of {share:g} of {height} x {width} pixels is less than a pixel: give {1 / (height * width):.2g} "
            "or more"
        )
    objective = Objective(labels, loss, targeted)
    if not side:
        return images.detach().clone()
    numbers = randomness(images, generator, seed, "patch")
    with contract.attacking(model, images.device):
        clean = images.detach().clone()
        best, highest = clean.clone(), torch.full((len(clean),), -torch.inf, device=clean.device)
        done = torch.zeros_like(labels, dtype=torch.bool)
        for restart in range(restarts):
            inside = _square(numbers, side, height, width, place)
            content = numbers.uniform(*images.shape[1:]).to(clean)
            for step in range(steps + 1):
                x = torch.where(inside, content, clean).requires_grad_()
                logits = contract.check_logits_shape(
                    ask(model, x, first=not (restart or step)), len(x), objective.highest
                )
                contract.check_finite(logits)
                value = objective.loss(logits)
                fooled = objective.fooled(logits) & ~done
                better = ((value.detach() > highest) & ~done) | fooled
                best = torch.where(better[:, None, None, None], x.detach(), best)
                highest = torch.where(better, value.detach().to(highest), highest)
                done |= fooled
                if step == steps or bool(done.all()):
                    break
                gradient = contract.input_gradient(value.sum(), x) * inside
                if not (restart or step):
                    contract.warn_if_zero(gradient)
                content = (content + step_size * gradient.sign()).clamp(0, 1)
                if progress is not None:
                    progress(restart * steps + step + 1, restarts * steps)
            if bool(done.all()):
                break
        return torch.empty_like(images).copy_(best)


def side_of(share: float, height: int, width: int) -> int:
    """Side, in pixels, of the largest square of at most this share of an image."""
    return min(math.isqrt(math.floor(share * height * width + 1e-9)), height, width)


def _square(numbers: Randomness, side: int, height: int, width: int, place: str) -> Tensor:
    """(N, 1, height, width), bool: where each image's square is."""
    rows, columns = height - side, width - side
    top, left = numbers.integers(rows + 1, 1, 1, 1), numbers.integers(columns + 1, 1, 1, 1)
    if place != "random":
        middle = place == "centre"
        top, left = torch.full_like(top, rows // 2 * middle), torch.full_like(left, columns // 2 * middle)
    down = torch.arange(height, device=top.device).view(-1, 1) - top
    right = torch.arange(width, device=top.device) - left
    return (down >= 0) & (down < side) & (right >= 0) & (right < side)
