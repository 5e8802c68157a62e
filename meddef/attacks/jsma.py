"""The Jacobian-based saliency map attack (Papernot et al. 2016, https://arxiv.org/abs/1511.07528), in batches."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.jsma_pair_search import best_pair
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask
from meddef.errors import InputError

UNITS = ("feature", "pixel")
SALIENCIES = ("logits", "softmax")
TARGETS = ("second", "least", "all")


@for_anyone
def jsma(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    theta: float,
    gamma: float,
    targets: Tensor | str | None = None,
    features: int = 2,
    unit: str = "feature",
    saliency: str = "logits",
    pairs_per_step: int = 1,
    max_steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Repeatedly change the pair of features of largest saliency by ``theta`` (Algorithms 2 and 3).

    alpha_i = dZ_t/dx_i and beta_i = sum over j != t of dZ_j/dx_i. For theta > 0 the pair maximises
    -(alpha_p + alpha_q)(beta_p + beta_q) with alpha_p + alpha_q > 0 and beta_p + beta_q < 0; for theta < 0 both signs
    are turned. A feature at its bound is excluded from the search; until then it may be chosen again. An image is
    dropped from the batch when the model is fooled or no pair satisfies the conditions.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes.
        theta: change of a chosen feature, in [-1, 1], not 0; the result is clipped to [0, 1].
        gamma: share of the features that may change, in [0, 1]: at most floor(gamma n) of them, n = C H W.
        targets: None is the untargeted variant: the attack aims at the most likely class other than the label (with
            two classes, the other one) and ends when the image is misclassified. Otherwise it ends when the target is
            predicted: (N,) classes; "second" for the most likely class but the label; "least" for the least likely;
            "all" for each of the K - 1, keeping the success with the fewest changed features.
        features: 2 for pairs, 1 for the single-feature variant.
        unit: "feature" counts as in the paper; "pixel" changes all channels of a pixel together, ranked by the sum of
            their saliency, and n = H W.
        saliency: "logits" (two backward passes per step) or "softmax" (one, as the probabilities sum to 1).
        pairs_per_step: 1 is the published attack; more reuse one Jacobian for several disjoint pairs, a faster but
            different attack.
        max_steps: most moves; None is floor(gamma n / features), the published bound (Algorithm 3). More only helps
            where ``|theta| < 1``; the share of changed features stays within gamma in any case.
        progress: called with (moves done, most moves) after every Jacobian.

    Returns:
        Images of the same shape, in [0, 1], at most floor(gamma n) features changed.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input.
    """
    labels = contract.check_batch(model, images, labels)
    _check_settings(theta, gamma, features, unit, saliency, images)
    contract.check_at_least(pairs_per_step, 1, "pairs_per_step")
    n = images[0, 0].numel() if unit == "pixel" else math.prod(images.shape[1:])
    budget = math.floor(gamma * n)
    most = budget // features if max_steps is None else max_steps
    contract.check_at_least(most, 0, "max_steps")
    if budget < features or most == 0 or not len(images):
        return images.detach().clone()
    craft = _Craft(
        model, theta, features, unit == "pixel", saliency == "softmax", budget, pairs_per_step, most
    )
    with contract.attacking(model, images.device):
        start = images.detach().clone(memory_format=torch.contiguous_format)
        first = contract.check_logits(ask(model, start, first=True), labels)
        attempts = [
            _run(craft, _Batch(start, start, target, objective), progress)
            for target, objective in _aims(first, labels, targets)
        ]
        best = _fewest_changes(model, start, labels, attempts) if len(attempts) > 1 else attempts[0]
    return torch.empty_like(images).copy_(best)


@dataclass(frozen=True)
class _Craft:
    """The settings of one call."""

    model: nn.Module
    theta: float
    features: int
    whole_pixels: bool
    softmax: bool
    budget: int
    pairs_per_step: int
    most: int

    def units(self, x: Tensor) -> Tensor:
        """(N, C, n) with whole pixels, else (N, 1, n): the last axis is what is chosen, the middle moves with it."""
        return x.flatten(2) if self.whole_pixels else x.flatten(1).unsqueeze(1)


@dataclass(frozen=True)
class _Batch:
    """Images still being attacked: original, current, the class aimed at, and when to stop."""

    original: Tensor
    x: Tensor
    target: Tensor
    objective: Objective

    def select(self, keep: Tensor) -> "_Batch":
        return _Batch(self.original[keep], self.x[keep], self.target[keep], self.objective.select(keep))


def _run(craft: _Craft, batch: _Batch, progress: Callable[[int, int], None] | None) -> Tensor:
    """The loop: Jacobian, best pair, change; successful or stuck images are dropped."""
    result, place = batch.x.clone(), torch.arange(len(batch.x), device=batch.x.device)
    moves = 0
    while moves < craft.most:
        x = batch.x.detach().requires_grad_()
        logits = _logits(craft.model, x, batch.objective.labels)
        active = ~batch.objective.fooled(logits)
        if not active.any():
            break
        alpha, beta = _jacobian(craft, logits, x, batch.target)
        if moves == 0:
            contract.warn_if_zero(alpha.abs() + beta.abs())
        place, batch, alpha, beta = place[active], batch.select(active), alpha[active], beta[active]
        chosen = torch.zeros_like(alpha, dtype=torch.bool)
        moved = chosen.any(1)
        for _ in range(min(craft.pairs_per_step, craft.most - moves)):
            index, found = _choose(craft, batch, alpha, beta, chosen)
            batch = replace(batch, x=_move(craft, batch.x, index, found))
            chosen.scatter_(1, index, True)
            moved |= found
            moves += 1
        result[place] = batch.x
        place, batch = place[moved], batch.select(moved)
        if not len(place):
            break
        if progress is not None:
            progress(moves, craft.most)
    return result


def _jacobian(craft: _Craft, logits: Tensor, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and beta, (N, n) for any K: the target's gradient and that of the sum of the others."""
    rows = torch.arange(len(x), device=x.device)
    if craft.softmax:
        towards = contract.input_gradient(_likelihood(logits, rows, target).sum(), x)
        away = -towards
    else:
        own = logits[rows, target].sum()
        try:
            towards = contract.input_gradient(own, x, keep_graph=True)
        except (
            RuntimeError
        ) as error:  # what torch.compile makes can be gone through once: it gives its memory away
            if "donated" not in str(error):
                raise
            towards = contract.input_gradient(own, x)
            logits = _logits(craft.model, x, target)
            own = logits[rows, target].sum()
        away = contract.input_gradient(logits.sum() - own, x)
    single = torch.float64 if x.dtype == torch.float64 else torch.float32
    alpha, beta = (craft.units(gradient.to(single)).sum(1) for gradient in (towards, away))
    return _of_usual_size(alpha), _of_usual_size(beta)


def _likelihood(logits: Tensor, rows: Tensor, target: Tensor) -> Tensor:
    """The probability of the target, (N,), or its logarithm, of which the saliency map is the same up to a factor,
    where the product of two of its derivatives would underflow."""
    likely = logits.softmax(1)[rows, target]
    faint = likely.detach() < _least(logits.dtype)
    return torch.where(faint, logits.log_softmax(1)[rows, target], likely) if faint.any() else likely


def _of_usual_size(map_: Tensor) -> Tensor:
    """(N, n), times a power of 2 for an image where products would underflow or overflow: the best pair is the same."""
    largest = map_.abs().amax(1, keepdim=True)
    least = _least(map_.dtype)
    unusual = (largest > 0) & ((largest < least) | (largest > 1 / least))
    if not unusual.any():
        return map_
    scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1)
    return map_ / torch.where(unusual, scale, 1)


def _least(dtype: torch.dtype) -> float:
    """Far above the root of the smallest normal number: 8e-16 for float32."""
    return float(torch.finfo(dtype).tiny ** 0.4)


def _choose(
    craft: _Craft, batch: _Batch, alpha: Tensor, beta: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """Indices (N, features) of the move, and whether there is one (N,)."""
    x = craft.units(batch.x)
    changed = (x != craft.units(batch.original)).any(1)
    room = craft.budget - changed.sum(1, keepdim=True) >= craft.features
    free = (x < 1).any(1) if craft.theta > 0 else (x > 0).any(1)
    domain = free & (changed | room) & ~chosen
    sign = 1 if craft.theta > 0 else -1
    if craft.features == 2:
        return best_pair(sign * alpha, -sign * beta, domain)
    allowed = domain & (sign * alpha > 0) & (sign * beta < 0)
    value, index = (-alpha * beta).masked_fill(~allowed, 0).max(1, keepdim=True)
    return index, value[:, 0] > 0


def _move(craft: _Craft, x: Tensor, index: Tensor, found: Tensor) -> Tensor:
    moved = x.clone()
    units, rows = craft.units(moved), found.nonzero()
    places = (rows, slice(None), index[found])
    units[places] = (units[places] + craft.theta).clamp(0, 1)
    return moved


def _aims(logits: Tensor, labels: Tensor, targets: Tensor | str | None) -> list[tuple[Tensor, Objective]]:
    """Targets and stopping conditions, one entry per attempt."""
    own = torch.zeros_like(logits, dtype=torch.bool).scatter(1, labels[:, None], True)
    ranked = logits.detach().masked_fill(own, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :-1]
    if targets is None:
        return [(ranked[:, 0], Objective(labels))]
    if isinstance(targets, str):
        contract.check_choice(targets, TARGETS, "targets")
        columns = {"second": [0], "least": [-1], "all": range(ranked.shape[1])}[targets]
        return [(ranked[:, i], Objective(ranked[:, i], targeted=True)) for i in columns]
    targets = contract.check_labels(targets, labels, "targets")
    if int(targets.max()) >= logits.shape[1]:
        raise InputError(
            f"target {int(targets.max())} is out of range: the model has {logits.shape[1]} classes"
        )
    if bool((targets == labels).any()):
        raise InputError(f"the target of image {contract.first_bad(targets != labels)} is its own label")
    return [(targets, Objective(targets, targeted=True))]


def _fewest_changes(model: nn.Module, start: Tensor, labels: Tensor, attempts: list[Tensor]) -> Tensor:
    """Of each image, the attempt that fools the model with the fewest changed features; else the first."""
    best, fewest = attempts[0], torch.full_like(labels, start[0].numel() + 1)
    for attempt in attempts:
        with torch.no_grad():
            fooled = Objective(labels).fooled(_logits(model, attempt, labels))
        changed = torch.where(fooled, (attempt != start).flatten(1).sum(1), start[0].numel() + 1)
        better = changed < fewest
        best, fewest = (
            torch.where(better.view(-1, *[1] * (start.ndim - 1)), attempt, best),
            torch.where(better, changed, fewest),
        )
    return best


def _check_settings(
    theta: float, gamma: float, features: int, unit: str, saliency: str, images: Tensor
) -> None:
    if not 0 < abs(theta) <= 1:
        raise InputError(f"theta must be in [-1, 1] and not 0, got {theta}")
    if not 0 <= gamma <= 1:
        raise InputError(f"gamma must be a share of the features, in [0, 1], got {gamma}")
    if features not in (1, 2):
        raise InputError(f"features must be 1 or 2 (pairs, as published), got {features}")
    contract.check_choice(unit, UNITS, "unit")
    contract.check_choice(saliency, SALIENCIES, "saliency")
    if unit == "pixel" and images.ndim < 3:
        raise InputError(f"unit='pixel' needs images (N, C, H, W), got shape {tuple(images.shape)}")


def _logits(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return contract.check_logits(ask(model, x), labels)
