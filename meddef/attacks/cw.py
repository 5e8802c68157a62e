"""Carlini and Wagner's attack in L2 (2017, https://arxiv.org/abs/1608.04644): the nearest adversarial image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import L2Ball
from meddef.attacks.loop import finish, forward
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask

NORMS = ("l2",)
_INSIDE = 0.999999  # keeps black and white pixels at finite places of the tanh space


@for_anyone
def cw(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: str = "l2",
    steps: int = 100,
    searches: int = 6,
    constant: float = 1.0,
    confidence: float = 0.0,
    learning_rate: float = 0.01,
    targeted: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Minimise ``|x' - x|^2 + c max(confidence - margin(x'), 0)`` over x' = (tanh w + 1) / 2 by Adam, for several c.

    The attack looks for the shortest perturbation, whatever its length; ``eps`` decides afterwards: an image counts as
    broken only by an example within ``eps``. With a large ``eps`` the lengths themselves are the result
    (``Evaluation.l2``).

    c is bisected per image: ten times larger while nothing is found, then between the largest that failed and the
    smallest that succeeded. It is counted in units of the image's own margin, so that the scale of the logits does not
    matter. Pixels that are exactly black or white lie far out in w and hardly move, as in every version of this attack.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes or, with ``targeted``, the target classes.
        eps: largest Euclidean length of a perturbation that counts, one number or a tensor (N,).
        norm: "l2", the only one; it says in what ``eps`` is measured.
        steps: of Adam for each c (the authors take 10,000).
        searches: how many c are tried for each image (the authors: 9).
        constant: the first c.
        confidence: margin of the logits to be reached, 0 or more.
        learning_rate: of Adam, in w.
        targeted: towards ``labels`` instead of away from them.
        progress: called with (searches done, total searches).

    Returns:
        Images within ``eps`` and [0, 1] exactly, the nearest adversarial example or, where it lies outside, its
        projection into the ball, and where none was found the projection of the last iterate. An image that is wrong
        already is returned as it is.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input.

    >>> evaluate(model, loader, partial(cw, eps=1.5)).robust_accuracy  # doctest: +SKIP
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_choice(norm, NORMS, "norm")
    contract.check_at_least(steps, 1, "steps")
    contract.check_at_least(searches, 1, "searches")
    contract.check_number(confidence, "confidence", least=0)
    for value, name in ((constant, "constant"), (learning_rate, "learning_rate")):
        contract.check_number(value, name, least=1e-12)
    radius = contract.per_image(eps, images, "eps")
    if not radius.any():
        return images.detach().clone()
    with contract.attacking(model, images.device):
        search = _Search(model, images.detach().clone(), Objective(labels, "margin", targeted), confidence)
        weight = torch.full_like(radius, constant)
        low, high = torch.zeros_like(radius), torch.full_like(radius, torch.inf)
        for done in range(searches):
            found = search.run(weight, steps, learning_rate, first=done == 0)
            high, low = torch.where(found, weight, high), torch.where(found, low, weight)
            weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
            if progress is not None:
                progress(done + 1, searches)
        ball = L2Ball(search.images, radius)
        result = torch.where(search.reach <= radius, search.best, ball.project(search.best))
        return torch.empty_like(images).copy_(finish(ball, result))


class _Search:
    """The nearest examples of a batch so far: ``best``, at distance ``reach`` (N, 1, 1, 1), infinite where none is."""

    def __init__(self, model: nn.Module, images: Tensor, objective: Objective, confidence: float) -> None:
        self.model, self.images, self.objective, self.confidence = model, images, objective, confidence
        with torch.no_grad():
            logits = contract.check_logits(ask(model, images, first=True), objective.labels)
        self.wide = (-1, *[1] * (images.ndim - 1))
        need = (confidence - objective.loss(logits)).view(self.wide)
        self.scale = torch.where(need > 0, need, 1)
        self.best = images.clone()
        wrong = objective.fooled(logits).view(self.wide)
        self.reach = torch.where(wrong, 0.0, torch.inf).double()

    def run(self, weight: Tensor, steps: int, learning_rate: float, *, first: bool) -> Tensor:
        """Adam with c = ``weight`` (N, 1, 1, 1) from the images; whether an example was found, bool (N, 1, 1, 1)."""
        w = torch.atanh(_INSIDE * (2 * self.images - 1))
        adam = torch.optim.Adam([w], lr=learning_rate)
        found, x = torch.zeros_like(weight, dtype=torch.bool), self.images
        for step in range(steps):
            half = torch.tanh(w) / 2
            leaf, logits, margin = forward(self.model, self.objective, half + 0.5)
            contract.check_finite(logits)
            gradient = contract.input_gradient(margin.sum(), leaf)
            if first and step == 0:
                contract.warn_if_zero(gradient)
            x, margin = leaf.detach(), margin.detach().view(self.wide)
            fooled = self.objective.fooled(logits).view(self.wide) & (margin >= self.confidence)
            found = found | fooled
            self._keep(x, fooled)
            pull = torch.where(margin < self.confidence, weight.to(x.dtype) / self.scale, 0)
            w.grad = (2 * (x - self.images) - pull * gradient) * 2 * (0.25 - half**2)
            adam.step()
        self.best = torch.where(self.reach.isinf(), x, self.best)
        return found

    def _keep(self, x: Tensor, fooled: Tensor) -> None:
        axes = tuple(range(1, x.ndim))
        length = torch.linalg.vector_norm(x.double() - self.images.double(), dim=axes, keepdim=True)
        nearer = fooled & (length < self.reach)
        self.best = torch.where(nearer, x, self.best)
        self.reach = torch.where(nearer, length, self.reach)
