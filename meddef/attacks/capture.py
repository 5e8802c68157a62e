"""PGD whose steps are recorded as CUDA graphs: no host synchronisation and one launch per step.

On an H100 a step of a batch of 11 takes 2 ms as a graph and 25 ms as hundreds of launches with host checks in between.
Recording costs about four plain steps, so graphs are kept for the lifetime of the surrounding ``climbing``: a whole
evaluation or training, or else a single attack.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from meddef.attacks.cuda_graph import Graphs, NotRecordable
from meddef.attacks.loop import ActiveBatch, Trace, climb
from meddef.attacks.recorded import Record, State, Step
from meddef.attacks.verdicts import Verdicts
from meddef.caller_warnings import warn

WORTH = 8
"""Fewest steps for which recording pays off."""
EVERY = 4
"""Steps between two checks for success. A check costs about a third of a step; between checks, a successful example is
kept for two steps on average. The first checks come after 1, 2 and 4 steps, when most attacks succeed."""
SMALLEST = 8
"""Images in a bucket: a step takes as long with fewer."""

T = TypeVar("T")


class NotCapturedWarning(UserWarning):
    """A model's steps cannot be recorded as a CUDA graph: its attacks run step by step, which is slower."""


class Climb(Protocol):
    """The signature of ``loop.climb``."""

    def __call__(
        self,
        active: ActiveBatch,
        x: Tensor,
        steps: int,
        *,
        stop: str,
        report: Callable[[int], None],
        trace: Trace | None,
    ) -> Tensor: ...


class Captured:
    """``loop.climb`` with recorded steps; images and errors are the same, within rounding.

    Every call of the same kind (number and shape of images, norm, loss, source, ...) replays the same recording. With
    stop "first", successful examples are dropped every few steps, and the rest moves to a recording of half the size or
    less.
    """

    def __init__(self, record: Record, device: torch.device | None = None) -> None:
        """``record`` makes recordings for images on ``device`` (None: any)."""
        self.record, self.device = record, device
        self.steps: dict[Hashable, Step] = {}
        self.kept: dict[Hashable, tuple[nn.Module, object]] = {}

    def __call__(
        self,
        active: ActiveBatch,
        x: Tensor,
        steps: int,
        *,
        stop: str,
        report: Callable[[int], None],
        trace: Trace | None,
    ) -> Tensor:
        own = callable(active.objective.loss_name)  # what it does on the host would not be replayed
        if trace is not None or own or active.model in _REFUSED or not len(x):
            return climb(active, x, steps, stop=stop, report=report, trace=trace)
        try:
            return (self._first if stop == "first" else self._never)(active, x, steps, report)
        except NotRecordable as reason:
            _REFUSED.add(active.model)
            warn(
                f"no CUDA graph of this model: {reason}. Its attacks run step by step, which is slower",
                NotCapturedWarning,
            )
        return climb(active, x, steps, stop=stop, report=report, trace=None)

    def _never(self, active: ActiveBatch, x: Tensor, steps: int, report: Callable[[int], None]) -> Tensor:
        step = self._step(active, x, len(x), first=False)
        step.load(active, x, steps)
        for number in range(steps):
            step.replay()
            report(number)
        verdicts = Verdicts(len(x))
        verdicts.hear(step.read(), torch.arange(len(x)))
        verdicts.warn()
        return step.x.clone()

    def _first(self, active: ActiveBatch, x: Tensor, steps: int, report: Callable[[int], None]) -> Tensor:
        result, verdicts = x.clone(), Verdicts(len(x))
        place = torch.arange(len(x))  # on the host: the index of each row's image in the call
        step = self._step(active, x, len(x), first=True)
        step.load(active, x, steps)
        gone, done, left = torch.zeros(len(x), dtype=torch.bool), 0, steps
        while True:
            for number in range(done, done + min(max(done, 1), EVERY, left)):
                step.replay()
                done += 1
                if number < steps:  # beyond these are the steps given back, see _ask
                    report(number)
            state = step.read()
            verdicts.hear(state, place, ~gone)
            leaving, doubted = self._ask(active, step, state, place, gone, steps)
            rows = leaving.nonzero()[:, 0].to(x.device)
            result[place.to(x.device)[rows]] = step.x[rows]
            gone = gone | leaving
            if bool(gone.all()):
                verdicts.warn()
                return result
            left = steps - int(state.taken[: len(place)][~gone].min())
            bucket = max(SMALLEST, 1 << (int((~gone).sum()) - 1).bit_length())
            if 2 * bucket <= step.n and left >= WORTH:
                rows = (~gone).nonzero()[:, 0]
                place, here = place[rows], step.x[rows.to(x.device)]
                rest = active.select(place.to(x.device))
                step = self._step(rest, here, bucket, first=True)
                step.load(rest, here, steps, taken=state.taken[rows], doubted=doubted[rows])
                gone = torch.zeros(len(place), dtype=torch.bool)
            else:
                step.frozen[: len(place)].copy_(gone)
                step.doubted[: len(place)].copy_(doubted)

    @staticmethod
    def _ask(
        active: ActiveBatch, step: Step, state: State, place: Tensor, gone: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Which rows are dropped now, and which are distrusted from now on: bool (m,) each, on the host.

        Successes on the surrogate are re-verified on the original model. An image frozen by a false success resumes
        with the steps it missed, and is verified on the original at every later check.
        """
        m = len(place)
        frozen, doubted, taken = (part[:m] for part in (state.frozen, state.doubted, state.taken))
        asked = (frozen | doubted) & ~gone
        fooled = asked.clone()
        if active.source is not active.model and bool(asked.any()):
            rows = asked.nonzero()[:, 0]
            some = active.select(place[rows].to(step.x.device))
            fooled[rows] = some.judge(step.x[rows.to(step.x.device)])[1].cpu()
        leaving = (fooled | (taken >= steps)) & ~gone
        return leaving, (doubted | frozen) & ~leaving & ~gone

    def _step(self, active: ActiveBatch, x: Tensor, n: int, *, first: bool) -> Step:
        """The recorded step for n such images, recorded now if it is not there."""
        key = (
            n, x.shape[1:], x.dtype, x.is_contiguous(), type(active.ball),
            active.objective.loss_name, active.objective.targeted, first, identity(active.source), _modes(x.device),
        )  # fmt: skip
        if key not in self.steps:
            before = _plain_attributes(active.source)
            made = Step(active, x, n, first=first, record=self.record)
            if _plain_attributes(active.source) != before:
                raise NotRecordable("its forward pass changes numbers or strings stored in its modules")
            self.steps[key] = made
        return self.steps[key]

    def close(self) -> None:
        """Release every recording and the memory they share."""
        self.steps.clear()
        self.kept.clear()


_REFUSED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_OPEN: ContextVar[Captured | None] = ContextVar("_OPEN", default=None)


@contextmanager
def climbing(device: torch.device | str, steps: int | None = None) -> Iterator[Climb]:
    """Yields the function to use as ``loop.climb``: on a GPU one that records its steps, elsewhere the plain loop.

    A nested ``climbing`` yields the outer one's, so that recordings outlive a single attack:

        with climbing(device):
            for images, labels in loader:
                pgd(model, images, labels, ...)

    Args:
        device: of the images.
        steps: total steps, where it is opened for a single call; recording does not pay off for few.
    """
    device, opened = torch.device(device), _OPEN.get()
    if device.type != "cuda":
        yield climb
    elif opened is not None and opened.device in (None, _with_index(device)):
        yield opened
    elif steps is not None and steps < WORTH:
        yield climb
    else:
        graphs = Graphs(_with_index(device))
        with holding(Captured(graphs, graphs.device)) as captured:
            try:
                yield captured
            finally:
                captured.close()
                graphs.close()


@contextmanager
def holding(captured: Captured) -> Iterator[Captured]:
    """Make it what ``climbing`` yields and ``kept`` keeps in."""
    token = _OPEN.set(captured)
    try:
        yield captured
    finally:
        _OPEN.reset(token)


def kept(model: nn.Module, name: Hashable, make: Callable[[], T]) -> T:
    """``make`` of a model, cached for the lifetime of the surrounding ``climbing``; not cached without one."""
    captured = _OPEN.get()
    if captured is None:
        return make()
    key = (name, identity(model))
    if key not in captured.kept:
        captured.kept[key] = (model, make())  # with the model, so that its id stays its own
    return captured.kept[key][1]  # type: ignore[return-value]


def identity(model: nn.Module) -> Hashable:
    """The module and the addresses of its weights; values may change."""
    tensors = (*model.parameters(), *model.buffers())
    return id(model), tuple(tensor.data_ptr() for tensor in tensors)


def _with_index(device: torch.device) -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device


def _plain_attributes(model: nn.Module) -> dict[tuple[str, str], object]:
    """State that a forward pass may change on the host, which a replay would not."""
    return {
        (name, key): value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | float | str)
    }


def _modes(device: torch.device) -> Hashable:
    """Process settings that determine the kernels of a recording."""
    return (
        torch.is_autocast_enabled(device.type),
        torch.get_autocast_dtype(device.type),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision,
    )
