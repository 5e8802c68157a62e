"""The one loop behind FGSM, BIM and PGD: gradient, step, project."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.balls import Ball
from meddef.attacks.losses import Goal


@dataclass
class Trace:
    """Loss and success of every iterate, one (N,) tensor each: steps + 1 a restart, the starting point first.

    With ``stop="first"`` an image that has left the batch keeps its last values, and a restart in which all have left
    adds no more rows.
    """

    loss: list[Tensor] = field(default_factory=list)
    fooled: list[Tensor] = field(default_factory=list)

    def add(self, run: "Run", loss: Tensor, fooled: Tensor) -> None:
        for rows, values in ((self.loss, loss), (self.fooled, fooled)):
            row = rows[-1].clone() if rows else values.new_zeros(run.count)
            row[run.index] = values.detach()
            rows.append(row)


@dataclass(frozen=True)
class Run:
    """Images under attack: who judges, where gradients come from, how far and how fast images may move.

    ``index`` says which of the ``count`` images of the call these are; ``size`` is the step, (N, 1, 1, 1).
    """

    model: nn.Module
    source: nn.Module
    goal: Goal
    sphere: Ball
    size: Tensor
    index: Tensor
    count: int

    def select(self, keep: Tensor) -> "Run":
        return replace(
            self,
            goal=self.goal.select(keep),
            sphere=self.sphere.select(keep),
            size=self.size[keep],
            index=self.index[keep],
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A leaf at x, the logits of the gradients' source there, and the loss (N,)."""
        leaf = x.detach().requires_grad_()
        logits = contract.check_logits(self.source(leaf), self.goal.labels)
        return leaf, logits, self.goal.loss(logits)

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and success (N,) by the model as given."""
        with torch.no_grad():
            logits = contract.check_logits(self.model(x), self.goal.labels)
            return self.goal.loss(logits), self.goal.fooled(logits)

    def fooled(self, x: Tensor, logits: Tensor) -> Tensor:
        """(N,) bool; what a stand-in believes to be fooled is asked again of the model as given."""
        fooled = self.goal.fooled(logits)
        if self.source is not self.model and bool(fooled.any()):
            some = fooled.nonzero()[:, 0]
            fooled[some] = self.select(some).judge(x.detach()[some])[1]
        return fooled


def climb(
    run: Run, x: Tensor, steps: int, *, stop: str, report: Callable[[int], None], trace: Trace | None
) -> Tensor:
    """Up the loss from x (N, C, H, W), ``steps`` times; with stop "first", images that are fooled leave."""
    result, place = x.clone(), torch.arange(len(x), device=x.device)
    for step in range(steps):
        leaf, logits, loss = run.forward(x)
        staying = None
        if stop == "first" or trace is not None:
            fooled = run.fooled(leaf, logits)
            if trace is not None:
                trace.add(run, loss, fooled)
            if stop == "first" and bool(fooled.any()):
                result[place] = leaf.detach()
                staying = ~fooled
                place, run = place[staying], run.select(staying)
                if not len(place):
                    return result
                if 2 * len(place) < len(leaf):  # forward again with few is cheaper than backward with all
                    leaf, logits, loss = run.forward(leaf.detach()[staying])
                    staying = None
        gradient = contract.input_gradient(loss.sum(), leaf)
        if step == 0:
            contract.warn_if_zero(gradient)
        x = leaf.detach()
        if staying is not None:
            x, gradient = x[staying], gradient[staying]
        x = run.sphere.step(x, gradient, run.size)
        report(step)
    result[place] = x
    return result


def finish(sphere: Ball, x: Tensor) -> Tensor:
    """Exact bounds, and the very image where eps is 0."""
    x = sphere.exact(x)
    return torch.where(sphere.eps == 0, sphere.images, x) if bool((sphere.eps == 0).any()) else x
