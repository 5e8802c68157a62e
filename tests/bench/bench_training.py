"""A batch of adversarial training on a CPU against the same batch as it was made before: PGD on the model itself, which
the optimizer's plain Adam then moves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import pgd
from meddef.models import build_model
from meddef.training.inner_attack import InnerAttack
from tests.bench.table import Row, interleaved, ratio, say
from tests.bench.workload import Scale, bands, bf16_pays

EPS, STEPS, SHARE = 0.03, 10, 0.35
Inner = Callable[[Tensor, Tensor], Tensor]


def rows(scale: Scale) -> Iterator[Row]:
    for variant in ("resnet18", "full"):
        for precision in ("float32", "bf16") if bf16_pays() else ("float32",):
            say(f"adversarial training, {variant}, {precision}")
            yield row(variant, precision, scale)


def row(variant: str, precision: str, scale: Scale) -> Row:
    """How many times faster a batch is than before."""
    images, labels = bands(scale.batch, 2, scale.size, seed=0)
    torch.manual_seed(0)
    model = build_model(variant, 2, mean=0.4, std=0.2).to(memory_format=torch.channels_last)
    before, now = model, copy.deepcopy(model)
    steps = min(STEPS, scale.steps)
    step_size = 2.5 * EPS / steps

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return pgd(before, x, y, eps=EPS, step_size=step_size, steps=steps, precision=precision)

    inner = InnerAttack(now, steps, precision)

    def refilled(x: Tensor, y: Tensor) -> Tensor:
        return inner(x, y, eps=EPS, step_size=step_size, seed=0)

    times = interleaved(
        {
            "before": batch(before, plain, images, labels, precision, fused=False),
            "now": batch(now, refilled, images, labels, precision, fused=True),
        },
        scale.repeats,
    )
    some = round(SHARE * len(images))
    note = f"{len(images)} images of {scale.size} px, {some} attacked; medians of {scale.repeats} runs"
    workload = f"adversarial training, PGD-{steps}, {variant}, {precision}: against the way before"
    return ratio(workload, times, "before", "now", least=1.25, note=note)


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
