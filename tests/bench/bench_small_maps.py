"""Convolutions with few output positions: torch's against a matrix product (``meddef.small_maps``), in CPU seconds.

python -m tests.bench.bench_small_maps
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from meddef.small_maps import convolve
from tests.bench.table import interleaved

SHAPES = [
    (512, 512, 2, 1),
    (256, 512, 4, 2),
    (256, 256, 4, 1),
]  # C, D, side, stride; a kernel of 3 x 3, padded
BATCH = 32


def runs(
    channels: int, count: int, side: int, stride: int, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """The gradient of the input (an attack) and of the weights too (training), either way."""
    given = {"dtype": dtype, "generator": torch.Generator().manual_seed(0)}
    nhwc = {"memory_format": torch.channels_last}
    x = torch.randn(BATCH, channels, side, side, **given).contiguous(**nhwc).requires_grad_()
    weight = torch.randn(count, channels, 3, 3, **given).contiguous(**nhwc)
    learnt = weight.clone().requires_grad_()
    up = torch.ones_like(F.conv2d(x, weight, None, stride, 1))

    def step(run: Callable[..., Tensor], kernel: Tensor, *wanted: Tensor) -> object:
        return torch.autograd.grad(run(x, kernel, None, (stride, stride), (1, 1)), wanted, up)

    return {
        "attack, torch": partial(step, F.conv2d, weight, x),
        "attack, product": partial(step, convolve, weight, x),
        "training, torch": partial(step, F.conv2d, learnt, x, learnt),
        "training, product": partial(step, convolve, learnt, x, learnt),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    table = Table(
        title=f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {BATCH} images"
    )
    for column in ("channels", "map", "stride", "format", "attack: times as fast", "training: times as fast"):
        table.add_column(column)
    for channels, count, side, stride in SHAPES:
        for dtype in (torch.bfloat16, torch.float32):
            spent = interleaved(runs(channels, count, side, stride, dtype), 9, clock=process_time)
            gains = (spent[f"{what}, torch"] / spent[f"{what}, product"] for what in ("attack", "training"))
            table.add_row(
                f"{channels} to {count}",
                f"{side} x {side}",
                str(stride),
                str(dtype),
                *(f"{g:.1f}" for g in gains),
            )
    Console().print(table)
