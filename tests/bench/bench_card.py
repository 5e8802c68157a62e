"""Recorded steps against those of before, side by side on one GPU: python -m tests.bench.bench_card [FOLDER].

"Before" is the plain loop with a copy folded at every call and bfloat16 by autocast, the best that there was; the
faster of its modes counts. Writes gpu_targets.json, anew after every row: device time may end before the bench does.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef import arithmetic
from meddef.atomic import write_text
from meddef.attacks import fgsm, pgd
from meddef.attacks.capture import Captured, climbing
from meddef.attacks.loop import climb
from meddef.data.images import ImageSet
from meddef.evaluation.provenance import provenance
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training.distributed import Together
from meddef.training.epoch import Epoch
from meddef.training.gpu_resident import Resident
from meddef.training.inner_attack import InnerAttack
from meddef.training.process_group import Team
from tests.bench import peers, workload
from tests.bench.bench_gpu import DEVICE, SIZE, batch_of, network, waited_for
from tests.bench.store import FOLDER
from tests.bench.table import Row, interleaved, say, show

STEPS, BATCH, ATTACKED, IMAGES = 40, 32, 11, 4099
AT_ONCE = 128
GRID = [0.01 * i for i in range(1, 9)]
PGD: dict[str, Any] = {"eps": 0.03, "step_size": 0.003, "steps": STEPS}
BEST: dict[str, Any] = {"fast": True, "precision": "bf16"}
MODES: dict[str, dict[str, Any]] = {"as it comes": {}, "bf16": {"precision": "bf16"}, "fast bf16": BEST}
WANTED = {"resnet18": 2.5, "full": 4.5}
REPEATS = 3
Calls = dict[str, Callable[[], object]]


def main() -> None:
    started = time.perf_counter()
    place = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER) / "gpu_targets.json"
    rows: list[Row] = []
    for part in (steps_of, training, one_step, epoch, repeats, until_fooled):
        try:
            for row in part():
                say(
                    f"{row.workload}: {row.measured and round(row.measured, 3)} {row.unit} {row.verdict} {row.note}"
                )
                rows.append(row)
                circumstances = provenance(DEVICE, time.perf_counter() - started)
                circumstances["versions"] |= peers.versions()
                content = {"rows": [asdict(row) for row in rows], "provenance": circumstances}
                write_text(place, json.dumps(content, indent=1) + "\n")
        except Exception:  # lent time: what one part lacks must not cost the others
            traceback.print_exc()
    show(f"Recorded steps ({torch.cuda.get_device_name()}, torch {torch.__version__})", rows)


@contextmanager
def before() -> Iterator[None]:
    """As it was: the plain loop, and no stand-in made for GPUs."""
    plain = patch.object(Captured, "__call__", lambda self, *args, **settings: climb(*args, **settings))
    with plain, patch("meddef.attacks.fast.shadow_of", lambda *args, **settings: None):
        yield


def under(context: Callable[[], AbstractContextManager[object]], call: Callable[[], object]) -> object:
    with context():
        return call()


def timed(calls: Calls) -> dict[str, float]:
    return interleaved({name: partial(waited_for, call) for name, call in calls.items()}, REPEATS)


def modes(call: Callable[..., object]) -> Calls:
    """The call in each mode: before; now, in the ``climbing`` that the caller holds; now, each call on its own."""
    now = {f"now, {mode}": partial(call, **keywords) for mode, keywords in MODES.items()}
    then = {
        f"before, {mode}": partial(under, before, partial(call, **keywords))
        for mode, keywords in MODES.items()
    }
    return {**then, **now}


def compared(
    workload_name: str, seconds: dict[str, float], work: float, unit: str, least: float | None
) -> Iterator[Row]:
    """One row per mode, in work per second, and how many times faster the best of now is than the best of before."""
    for mode, value in seconds.items():
        yield Row(f"{workload_name}; {mode}", work / value, unit)
    best = {
        when: min((value, mode) for mode, value in seconds.items() if mode.startswith(when))
        for when in ("before", "now")
    }
    note = f"{best['now'][1]} against {best['before'][1]}"
    yield Row(workload_name, best["before"][0] / best["now"][0], "x", least=least, note=note)


def steps_of() -> Iterator[Row]:
    """PGD of forty steps on many images."""
    x, labels = batch_of(AT_ONCE)
    for variant, least in WANTED.items():
        model = network(variant)
        alone = partial(pgd, model, x, labels, **PGD, **BEST)
        theirs = peers.torchattacks("PGD", model, x, labels, eps=0.03, alpha=0.003, steps=STEPS)
        with climbing(DEVICE):
            seconds = timed({**modes(partial(pgd, model, x, labels, **PGD)), **theirs})
        name = f"PGD-{STEPS}, {variant}, {AT_ONCE} images of {SIZE} px"
        yield from compared(name, seconds, STEPS * AT_ONCE, "image-steps/s", least)
        single = timed({"now": alone})["now"]
        yield Row(
            f"{name}; now, fast bf16, recorded at every call", STEPS * AT_ONCE / single, "image-steps/s"
        )


def until_fooled() -> Iterator[Row]:
    """PGD that lets fooled images go, on a model trained without defence and on one that was attacked in training."""
    for name, made in (("undefended", workload.undefended), ("defended", workload.defended)):
        model = made(2, SIZE, workload.FULL.training, DEVICE)
        x, labels = workload.right(model, AT_ONCE, 2, SIZE)
        with climbing(DEVICE):
            seconds = timed(modes(partial(pgd, model, x, labels, stop="first", **PGD)))
        name = f'PGD-{STEPS}, stop="first", ResNet18 {name}, {len(x)} images'
        yield from compared(name, seconds, len(x), "images/s", None)
        found = {
            "float32 before": partial(under, before, partial(pgd, model, x, labels, **PGD)),
            "fast bf16 now": partial(pgd, model, x, labels, **PGD, **BEST),
        }
        for mode, call in found.items():
            left = workload.robust(model, call(), labels)  # type: ignore[arg-type]
            yield Row(f"{name}: robust accuracy, {mode}", left, "%")


def training() -> Iterator[Row]:
    """One batch of adversarial training: attack, forward and backward pass, step of the optimizer."""
    x, labels = batch_of(BATCH)
    for variant, least in (("resnet18", None), ("full", 12.0)):
        calls: Calls = {}
        with climbing(DEVICE):
            for name, call in modes(partial(learn, variant_of(variant), x, labels)).items():
                calls[name] = call
            seconds = timed(calls)
        name = f"adversarial training, {variant}, batch of {BATCH} with {ATTACKED} attacked by PGD-{STEPS}"
        yield from compared(name, seconds, 1, "batches/s", least)
        best = min(value for mode, value in seconds.items() if mode.startswith("now"))
        yield Row(
            f"{name}: an epoch of {IMAGES:,}", best * IMAGES / BATCH, "s", note="estimated from the batch"
        )


def variant_of(variant: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network(variant).train()
    return model, torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)


def learn(
    learner: tuple[nn.Module, torch.optim.Optimizer], x: Tensor, labels: Tensor, **keywords: Any
) -> None:
    model, optimizer = learner
    found = pgd(model, x[:ATTACKED], labels[:ATTACKED], **PGD, **keywords)
    with torch.autocast(DEVICE, torch.bfloat16, enabled="precision" in keywords):
        logits = model(torch.cat([x, found])).float()
    clean, attacked = (
        F.cross_entropy(logits[:BATCH], labels),
        F.cross_entropy(logits[BATCH:], labels[:ATTACKED]),
    )
    optimizer.zero_grad()
    (0.5 * clean + 0.5 * attacked).backward()
    optimizer.step()


def epoch() -> Iterator[Row]:
    """The trainer's own epoch on a few batches, validation left out."""
    batches = 6
    pixels = np.random.default_rng(0).integers(0, 256, (batches * BATCH, SIZE, SIZE), dtype=np.uint8)
    names = tuple(map(str, range(len(pixels))))
    images = ImageSet(pixels, np.arange(len(pixels), dtype=np.int64) % 2, names, names)
    settings = TrainingSettings(precision="bf16", adversarial=AdversarialSettings(steps=STEPS))
    for variant in ("resnet18", "full"):
        model, optimizer = variant_of(variant)
        device = torch.device(DEVICE)
        attack = InnerAttack(model, STEPS, settings.precision)
        one = Epoch(Together(model, Team()), optimizer, attack, settings, 0, 1.0, 0, device)
        there = Resident(images, device)
        with climbing(DEVICE):
            seconds = timed({"now": partial(one.fit, there)})["now"]
        name = f"the trainer's epoch of {IMAGES:,}, {variant}"
        yield Row(name, seconds / batches * IMAGES / BATCH, "s", note=f"estimated from {batches} batches")


def repeats() -> Iterator[Row]:
    """Whether two calls of PGD end in the same bits, and an image in a batch of half the size."""
    model, (x, labels) = network("resnet18"), batch_of(AT_ONCE // 2)
    attack = partial(pgd, model, eps=0.03, step_size=0.003, steps=20, random_start=False)
    half = len(x) // 2
    for told in (False, True):
        for proper in (False, True):
            with ExitStack() as stack:
                if told:
                    stack.enter_context(arithmetic.repeatable())
                if proper:
                    stack.enter_context(arithmetic.without_tf32())
                once, twice = attack(images=x, labels=labels), attack(images=x, labels=labels)
                parts = (slice(half), slice(half, None))
                halves = torch.cat([attack(images=x[part], labels=labels[part]) for part in parts])
                seconds = timed({"now": partial(attack, images=x, labels=labels)})["now"]
            name = f"PGD-20 twice, {'float32' if proper else 'TF32'}, {'' if told else 'not '}deterministic"
            for what, other in (("another call", twice), ("halves of the batch", halves)):
                pixels = 100 * float((once != other).float().mean())
                verdicts = int((workload.answers(model, once) != workload.answers(model, other)).sum())
                yield Row(
                    f"{name}: pixels that differ in {what}", pixels, "%", note=f"{verdicts} verdicts differ"
                )
            yield Row(f"{name}: time", seconds, "s")


def one_step() -> Iterator[Row]:
    """FGSM against torchattacks, and eight eps in one call against eight calls."""
    x, labels = batch_of(AT_ONCE)
    for variant in ("resnet18", "full"):
        model = network(variant)
        calls: Calls = {
            "one": partial(fgsm, model, x, labels, eps=0.05),
            "fast": partial(fgsm, model, x, labels, eps=0.05, **BEST),
            "together": partial(fgsm, model, x, labels, eps=GRID),
            "apart": lambda model=model: [fgsm(model, x, labels, eps=eps) for eps in GRID],  # type: ignore[misc]
            "floor": partial(workload.floor, model, x, labels, 1),
            **peers.torchattacks("FGSM", model, x, labels, eps=0.05),
        }
        seconds = timed(calls)
        name = f"FGSM, {variant}, {AT_ONCE} images"
        for mode in ("one", "fast", "floor"):
            yield Row(f"{name}; {mode}", AT_ONCE / seconds[mode], "images/s")
        if "torchattacks" in seconds:
            yield Row(f"{name}; torchattacks", AT_ONCE / seconds["torchattacks"], "images/s")
            yield Row(
                f"{name} against torchattacks", seconds["torchattacks"] / seconds["one"], "x", least=0.95
            )
        else:
            yield Row(
                f"{name} against torchattacks", None, "x", least=0.95, note="torchattacks is not installed"
            )
        yield Row(f"{name}: eight eps in one call", seconds["apart"] / seconds["together"], "x", least=4)


if __name__ == "__main__":
    main()
