"""Adversarial training on a CPU against the way it was done before: PGD on the model itself, in training and in model
selection (in batches of a training batch's size), and PyTorch's plain Adam.

An epoch is put together from its parts: batches of training, and validation images under PGD, as many as the chest
X-rays have.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import pgd
from meddef.models import build_model
from meddef.training.epoch import VALIDATION_BATCH
from meddef.training.inner_attack import InnerAttack
from tests.bench.table import Row, interleaved, say
from tests.bench.workload import Scale, bands, bf16_pays

EPS, STEPS, SHARE = 0.03, 10, 0.35
BATCHES, VALIDATED = (
    128,
    615,
)  # of an epoch on 4,099 images, and of 878 for validation the 70 % that are attacked
Inner = Callable[[Tensor, Tensor], Tensor]


def rows(scale: Scale) -> Iterator[Row]:
    for variant in ("resnet18", "full"):
        for precision in ("float32", "bf16") if bf16_pays() else ("float32",):
            say(f"adversarial training, {variant}, {precision}")
            yield row(variant, precision, scale)


def row(variant: str, precision: str, scale: Scale) -> Row:
    """How many times faster an epoch is than before."""
    images, labels = bands(max(scale.batch, min(VALIDATION_BATCH, scale.many)), 2, scale.size, seed=0)
    torch.manual_seed(0)
    before = build_model(variant, 2, mean=0.4, std=0.2).to(memory_format=torch.channels_last)
    now = copy.deepcopy(before)
    steps = min(STEPS, scale.steps)
    step_size = 2.5 * EPS / steps
    inner = InnerAttack(now, steps, precision)

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return pgd(before, x, y, eps=EPS, step_size=step_size, steps=steps, precision=precision)

    def refilled(x: Tensor, y: Tensor) -> Tensor:
        return inner(x, y, eps=EPS, step_size=step_size, seed=0)

    some, their = images[: scale.batch], labels[: scale.batch]
    times = interleaved(
        {
            "batch before": batch(before, plain, some, their, precision, fused=False),
            "batch now": batch(now, refilled, some, their, precision, fused=True),
            "validation before": lambda: plain(some, their),
            "validation now": lambda: refilled(images, labels),
        },
        scale.repeats,
    )
    epoch_before = BATCHES * times["batch before"] + VALIDATED / len(some) * times["validation before"]
    epoch_now = BATCHES * times["batch now"] + VALIDATED / len(images) * times["validation now"]
    ratios = (times["batch before"] / times["batch now"], epoch_now)
    note = (
        f"{scale.size} px; a batch of {len(some)} with {round(SHARE * len(some))} attacked alone: {ratios[0]:.2f}; "
        f"an epoch of the chest X-rays takes {ratios[1]:.0f} s; medians of {scale.repeats} runs"
    )
    workload = f"adversarial training, PGD-{steps}, {variant}, {precision}: an epoch against the way before"
    return Row(workload, epoch_before / epoch_now, "x", least=1.25, note=note)


def batch(
    model: nn.Module, attack: Inner, images: Tensor, labels: Tensor, precision: str, *, fused: bool
) -> Callable[[], None]:
    """One step of training on ``images``, of which a share is attacked."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=fused or None)
    count = round(SHARE * len(images))

    def run() -> None:
        model.train()
        adversarial = attack(images[:count], labels[:count])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(torch.cat([images, adversarial])).float()
        clean, attacked = logits.split([len(images), count])
        loss = F.cross_entropy(clean, labels) + F.cross_entropy(attacked, labels[:count])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run
