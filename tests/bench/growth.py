"""How the time of BIM grows with batch, image size and steps, beside the floor and torchattacks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from meddef.attacks import bim
from tests.bench import peers
from tests.bench.bench_gradient import FAST
from tests.bench.table import interleaved, say
from tests.bench.workload import EPS, STEP_SIZE, Scale, bands, floor, undefended

BATCHES, SIZES, STEPS = (1, 2, 4, 8, 16, 32, 64), (32, 64, 128, 224), (1, 2, 5, 10, 20)
Point = dict[str, str | int | float]


def points(scale: Scale) -> Iterator[Point]:
    """One entry per mode and value of the axis: axis, value, mode, and ms (milliseconds per image)."""
    small = (8, scale.size, 3)
    for axis, values in (("batch", BATCHES), ("size", SIZES), ("steps", STEPS)):
        say(f"growth with {axis}")
        for value in values:
            batch, size, steps = (
                value if name == axis else usual
                for name, usual in zip(("batch", "size", "steps"), small, strict=True)
            )
            if size <= scale.largest and batch * steps <= 5 * scale.steps:
                yield from _point(axis, value, batch, size, steps, scale)


def _point(axis: str, value: int, batch: int, size: int, steps: int, scale: Scale) -> Iterator[Point]:
    model = undefended(4, scale.size, scale.training)
    x, labels = bands(batch, 4, size, seed=0)
    ours = partial(bim, model, x, labels, eps=EPS, step_size=STEP_SIZE, steps=steps)
    calls: peers.Calls = {
        "floor": partial(floor, model, x, labels, steps),
        **peers.torchattacks("BIM", model, x, labels, eps=EPS, alpha=STEP_SIZE, steps=steps),
        "reference": ours,
        **{mode: partial(ours, **settings) for mode, settings in FAST.items()},
    }
    for mode, seconds in interleaved(calls, scale.slow_repeats).items():
        yield {"axis": axis, "value": value, "mode": mode, "ms": 1000 * seconds / batch}
