"""One PGD step in tensors at fixed addresses, so that it can be recorded once and replayed.

The mathematics is ``loop.forward`` and ``loop.ascend``. The checks of the plain loop after every step (finite logits
and gradients, zero first gradient, success) are noted here in tensors, one value per image, which ``Step.read`` copies
to the host on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meddef.attacks import contract
from meddef.attacks.loop import ActiveBatch, ascend, forward

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a step, returns a replay of it without its Python code."""

_NONE = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class State:
    """The state of the images in a step's tensors, on the host; int64 or bool, (n,) each.

    ``fault`` is 2 t for logits that were not finite after t steps, 2 t + 1 for such a gradient, else very large.
    """

    frozen: Tensor
    doubted: Tensor
    taken: Tensor
    zero: Tensor
    fault: Tensor


class Step:
    """``n`` images and one step up the loss for each, in place.

    With ``first`` an image that fools the source is ``frozen``, as is one that has taken ``most`` steps; a ``doubted``
    one continues regardless of the source.
    """

    def __init__(self, active: ActiveBatch, x: Tensor, n: int, *, first: bool, record: Record) -> None:
        """``active`` and ``x`` (m, C, H, W) are the first to be loaded; n >= m."""
        rows = _rows(len(x), n, x.device)
        whole = active.select(rows)
        self.n, self.first = n, first
        self.active = replace(
            whole,
            ball=replace(whole.ball, images=_as(whole.ball.images, x), eps=whole.ball.eps.clone()),
            objective=replace(whole.objective, labels=whole.objective.labels.clone(), recorded=True),
            size=whole.size.clone(),
        )
        self.x = _as(x[rows], x)
        self.frozen, self.doubted, self.zero = (x.new_zeros(n, dtype=torch.bool) for _ in range(3))
        self.taken = x.new_zeros(n, dtype=torch.int64)
        self.none = torch.full_like(self.taken, _NONE)
        self.fault, self.most = self.none.clone(), self.taken[:1].clone()
        self.logits: Tensor | None = None  # their shape and dtype, without values
        self.load(active, x, 0)
        self.replay = record(self._step)

    def load(
        self,
        active: ActiveBatch,
        x: Tensor,
        most: int,
        *,
        taken: Tensor | None = None,
        doubted: Tensor | None = None,
    ) -> None:
        """Load m <= n images, each after ``taken`` steps; the remaining rows repeat the first, frozen.

        Raises:
            InputError: a label that the model has no class for.
        """
        m = len(x)
        if self.logits is not None:
            contract.check_logits_shape(self.logits, self.n, active.objective.highest)
        rows = _rows(m, self.n, x.device)
        whole = active if m == self.n else active.select(rows)
        self.active.ball.take(whole.ball)
        self.active.objective.labels.copy_(whole.objective.labels)
        self.active.size.copy_(whole.size)
        self.x.copy_(x if m == self.n else x[rows])
        for note, values in ((self.taken, taken), (self.doubted, doubted)):
            note.zero_()
            if values is not None:
                note[:m].copy_(values)
        self.zero.zero_()
        self.frozen.zero_()[m:] = True
        self.fault.copy_(self.none)
        self.most.fill_(most)

    def _step(self) -> None:
        leaf, logits, loss = forward(
            self.active.source, self.active.objective, self.x, first=self.logits is None
        )
        ahead, gradient = ascend(self.active.ball, self.active.size, leaf, loss)
        with torch.no_grad():
            if self.logits is None:
                self.logits = torch.empty(logits.shape, dtype=logits.dtype, device="meta")
            if self.first:
                self.frozen.logical_or_(self.active.objective.fooled(logits).logical_and_(~self.doubted))
                waiting = self.frozen | (self.taken >= self.most)
                torch.where(_wide(waiting, self.x), self.x, ahead, out=self.x)
            else:
                waiting = self.frozen
                self.x.copy_(ahead)
            self._note(_largest(logits), _largest(gradient), waiting)

    def _note(self, logit: Tensor, slope: Tensor, waiting: Tensor) -> None:
        """From the largest magnitudes of each image (NaN where there is one)."""
        moving = ~waiting
        self.zero.logical_or_((slope == 0) & moving & (self.taken == 0))
        now = 2 * self.taken
        bad_gradient = ~(slope < torch.inf) & moving
        fault = torch.where(logit < torch.inf, torch.where(bad_gradient, now + 1, self.none), now)
        self.fault.copy_(torch.minimum(self.fault, fault))
        self.taken.add_(moving)

    def read(self) -> State:
        """Waits for the device."""
        flags = (self.frozen.long(), self.doubted.long(), self.taken, self.zero.long(), self.fault)
        notes = torch.stack(flags).cpu()
        return State(notes[0].bool(), notes[1].bool(), notes[2], notes[3].bool(), notes[4])


def _rows(m: int, n: int, device: torch.device) -> Tensor:
    """0 to m - 1, padded with 0 to length n: the image in each of n rows."""
    place = torch.arange(n, device=device)
    return place.where(place < m, 0)


def _as(values: Tensor, like: Tensor) -> Tensor:
    """A copy in the memory format of ``like``."""
    wide = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if wide and not like.is_contiguous() else torch.contiguous_format
    return values.clone(memory_format=layout)


def _largest(x: Tensor) -> Tensor:
    """max |x| of each image, (N,); NaN where there is one."""
    return torch.linalg.vector_norm(x, torch.inf, dim=tuple(range(1, x.ndim)))


def _wide(mask: Tensor, x: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (x.ndim - 1))
