"""The loop behind BIM and PGD: loss, gradient, step, projection.

``forward`` and ``ascend`` are the two halves of a step. They read no values on the host, so that the loop below and the
one that replays a captured step on a GPU (``meddef.attacks.capture``) share them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.balls import Ball
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask


def forward(
    source: nn.Module, objective: Objective, x: Tensor, *, first: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """A leaf at x (N, C, H, W), the logits (N, K) of ``source`` there, and the loss (N,); ``first``: see ``ask``."""
    leaf = x.detach().requires_grad_()
    logits = contract.check_logits_shape(ask(source, leaf, first=first), len(leaf), objective.highest)
    return leaf, logits, objective.loss(logits)


def ascend(ball: Ball, size: Tensor, leaf: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """One step of ``size`` (N, 1, 1, 1) up the loss from the leaf, projected onto the ball, and the gradient."""
    gradient = contract.unchecked_gradient(loss.sum(), leaf)
    return ball.step(leaf.detach(), gradient, size), gradient


@dataclass
class Trace:
    """Loss and success of every iterate, one (N,) tensor each: steps + 1 per restart, the starting point first.

    With ``stop="first"`` a dropped image keeps its last values, and a restart in which all are dropped adds no more
    rows.
    """

    loss: list[Tensor] = field(default_factory=list)
    fooled: list[Tensor] = field(default_factory=list)

    def add(self, active: "ActiveBatch", loss: Tensor, fooled: Tensor) -> None:
        for rows, values in ((self.loss, loss), (self.fooled, fooled)):
            row = rows[-1].clone() if rows else values.new_zeros(active.count)
            row[active.index] = values.detach()
            rows.append(row)


@dataclass(frozen=True)
class ActiveBatch:
    """Images under attack: the original model, the source of gradients, the ball and the step size.

    ``index`` says which of the ``count`` images of the call these are; ``size`` is the step, (N, 1, 1, 1).
    """

    model: nn.Module
    source: nn.Module
    objective: Objective
    ball: Ball
    size: Tensor
    index: Tensor
    count: int

    def select(self, keep: Tensor) -> "ActiveBatch":
        return replace(
            self,
            objective=self.objective.select(keep),
            ball=self.ball.select(keep),
            size=self.size[keep],
            index=self.index[keep],
        )

    def forward(self, x: Tensor, *, first: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """A leaf at x, the logits of the gradients' source there, and the loss (N,)."""
        leaf, logits, loss = forward(self.source, self.objective, x, first=first)
        contract.check_finite(logits)
        return leaf, logits, loss

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and success (N,) on the original model."""
        with torch.no_grad():
            logits = contract.check_logits(ask(self.model, x), self.objective.labels)
            return self.objective.loss(logits), self.objective.fooled(logits)

    def fooled(self, x: Tensor, logits: Tensor) -> Tensor:
        """(N,) bool; successes on the surrogate are re-verified on the original model."""
        fooled = self.objective.fooled(logits)
        if self.source is not self.model and bool(fooled.any()):
            some = fooled.nonzero()[:, 0]
            fooled[some] = self.select(some).judge(x.detach()[some])[1]
        return fooled


def climb(
    active: ActiveBatch,
    x: Tensor,
    steps: int,
    *,
    stop: str,
    report: Callable[[int], None],
    trace: Trace | None,
) -> Tensor:
    """Ascend the loss from x (N, C, H, W) for ``steps`` steps; with stop "first", successful examples are dropped."""
    result, place = x.clone(), torch.arange(len(x), device=x.device)
    for step in range(steps):
        leaf, logits, loss = active.forward(x, first=step == 0)
        staying = None
        if stop == "first" or trace is not None:
            fooled = active.fooled(leaf, logits)
            if trace is not None:
                trace.add(active, loss, fooled)
            if stop == "first" and bool(fooled.any()):
                result[place] = leaf.detach()
                staying = ~fooled
                place = place[staying]
                if not len(place):
                    return result
                if 2 * len(place) < len(leaf):  # a small second forward is cheaper than a full backward
                    active = active.select(staying)
                    leaf, logits, loss = active.forward(leaf.detach()[staying])
                    staying = None
        x, gradient = ascend(active.ball, active.size, leaf, loss)
        contract.check_gradient(gradient)
        if step == 0:
            contract.warn_if_zero(gradient if staying is None else gradient[staying])
        if staying is not None:
            x, active = x[staying], active.select(staying)
        report(step)
    result[place] = x
    return result


def finish(ball: Ball, x: Tensor) -> Tensor:
    """Exact bounds, and the very image where eps is 0."""
    x = ball.exact(x)
    return torch.where(ball.eps == 0, ball.images, x) if bool((ball.eps == 0).any()) else x
