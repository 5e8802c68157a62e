"""Are the gradients informative? Existence, agreement with the loss, and determinism."""

from __future__ import annotations

import torch
from torch import Tensor

from meddef.attacks import contract
from meddef.attacks.losses import margin
from meddef.robustness.check_result import Outcome
from meddef.robustness.comparison import CLEAR, few, sign_test
from meddef.robustness.evidence import CHUNK, Evidence

SHARE = 0.05  # of an image's pixels
SAME = 1e-4  # of the largest logit: rounding on a parallel machine
PROBE = 1 / 32  # of eps: far enough for float32, near enough for a derivative
FARTHEST = 1 / 1024  # pixel units, a quarter of a grey level: undefended networks are linear within it
AGREES = (0.3, 3.0)  # measured slope over predicted slope
POINTS = (0.25, 0.5, 0.75, 1.0)  # of eps, along each direction
DIRECTIONS = 4


def deterministic(evidence: Evidence) -> Outcome:
    """Two forward passes give the same output."""
    with (
        contract.attacking(evidence.model, evidence.x.device),
        torch.no_grad(),
    ):  # one block: it resets random numbers
        first, again = (evidence.model(evidence.images[:CHUNK]) for _ in range(2))
    change = float((again - first).abs().max())
    largest = float(first.abs().max())
    numbers = {"largest_change": change, "largest_logit": largest}
    detail = f"Between two passes the logits differ by at most {change:.3g}; the largest is {largest:.3g}."
    return Outcome(change <= SAME * max(largest, 1e-12), numbers, detail)


def gradient_exists(evidence: Evidence) -> Outcome:
    """The margin's gradient exists, is finite, and is not zero all over an image."""
    n, gradient = len(evidence.x), evidence.gradient
    if gradient is None:
        return Outcome(False, {"images": n, "count": n}, "The model gives no finite gradient to its input.")
    zero = int((gradient.flatten(1) == 0).all(1).sum())
    return few(zero, n, "have a gradient that is zero everywhere")


def gradient_does_not_vanish(evidence: Evidence) -> Outcome:
    """Cross-entropy's gradient is not zero where the margin's is not: softmax has not saturated."""
    margins, entropies = evidence.gradient, evidence.gradient_of_cross_entropy
    assert margins is not None
    assert entropies is not None
    lost = ((entropies == 0) & (margins != 0)).flatten(1).double().mean(1)
    count = int((lost > SHARE).sum())
    words = f"lose the gradient of more than {SHARE:.0%} of their pixels in the cross-entropy"
    return few(count, len(evidence.x), words)


def gradient_agrees(evidence: Evidence) -> Outcome:
    """A small step along the gradient's sign changes the margin as the gradient says."""
    gradient = evidence.gradient
    assert gradient is not None
    size = min(PROBE * evidence.eps, FARTHEST)
    if size < torch.finfo(gradient.dtype).eps:
        return Outcome(None, {}, f"Images in {gradient.dtype} cannot be moved by as little as {size:.2g}.")
    step = size * gradient.sign()
    predicted = 2 * (step * gradient).flatten(1).sum(1)
    ends = [margin(evidence.answer(evidence.model, evidence.x + side), evidence.y) for side in (step, -step)]
    ratio = torch.where(predicted == 0, 0, (ends[0] - ends[1]) / predicted)
    low, high = AGREES
    off = int((~((ratio >= low) & (ratio <= high))).sum())
    n = len(evidence.x)
    numbers = {"images": n, "count": off, "median_ratio": float(ratio.median())}
    detail = (
        f"For {off} of {n} images the margin moves less than {low:g} or more than {high:g} times as the gradient "
        f"says over {size:.2g}; up to 10% pass. The median is {numbers['median_ratio']:.2f}."
    )
    return Outcome(off <= 0.1 * n, numbers, detail)


def gradient_beats_random_directions(evidence: Evidence) -> Outcome:
    """Along the gradient's sign the margin reaches higher than along random signs, within eps.

    It cannot be told where it does on two images in three, of few images.
    """
    gradient = evidence.gradient
    assert gradient is not None
    generator = torch.Generator().manual_seed(0)
    shape = (DIRECTIONS, *evidence.x.shape)
    signs = (torch.rand(shape, generator=generator).to(evidence.x) - 0.5).sign()
    along = _highest(evidence, gradient.sign())
    random = torch.stack([_highest(evidence, direction) for direction in signs]).amax(0)
    higher, lower = int((along > random).sum()), int((along < random).sum())
    p = sign_test(higher, lower)
    start = margin(evidence.answer(evidence.model, evidence.x), evidence.y)
    numbers = {
        "images": len(evidence.x),
        "higher": higher,
        "lower": lower,
        "p": p,
        "median_rise": float((along - start).median()),
        "median_rise_random": float((random - start).median()),
    }
    detail = (
        f"Within ε the margin rises by {numbers['median_rise']:.3g} along the gradient and by "
        f"{numbers['median_rise_random']:.3g} along the best of {DIRECTIONS} random directions (medians); the gradient "
        f"wins on {higher} of {len(evidence.x)} images (sign test p = {p:.2g})."
    )
    return Outcome(True if p < CLEAR else None if higher > 2 * lower else False, numbers, detail)


def _highest(evidence: Evidence, direction: Tensor) -> Tensor:
    """(N,): the largest margin on the way from each image to eps along ``direction``."""
    ends = [(evidence.x + point * evidence.eps * direction).clamp(0, 1) for point in POINTS]
    return torch.stack([margin(evidence.answer(evidence.model, x), evidence.y) for x in ends]).amax(0)
