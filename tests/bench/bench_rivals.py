"""The rivals of the paper's recipe: speed side by side, and a property of each that its source reports.

    python -m tests.bench.bench_rivals [--tiny]   # writes results/bench/rivals.json; --tiny tries the code in seconds

Speed: ResNet18 at 64 px as profile ``rivals`` trains it, all methods in turns in one process, on one thread, in seconds
of the processor. Properties: a small network on bars of light, of which it tells the direction. Fast-AT (Wong et al.
2020, section 5; Andriushchenko & Flammarion 2020): without its random start it ends at a large epsilon in a model that
resists FGSM more than its like. TRADES (Zhang et al. 2019, table 3): a larger beta buys robust for clean accuracy.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddef.atomic import write_text
from meddef.attacks import fgsm, pgd
from meddef.attacks.contract import ZeroGradientWarning
from meddef.data.images import ImageSet
from meddef.evaluation.provenance import provenance
from meddef.models import build_model
from meddef.module_state import evaluating
from meddef.settings import AdversarialSettings, TrainingSettings, load_profile
from meddef.training import train
from meddef.training.distributed import Together
from meddef.training.epoch import VALIDATION_BATCH, Epoch
from meddef.training.inner_attack import InnerAttack
from meddef.training.process_group import Team
from tests.bench.table import interleaved, say
from tests.bench.workload import bands

PLACE = Path(__file__).parents[2] / "results" / "bench" / "rivals.json"
PROFILE = "rivals"
TRAINED, VALIDATED = 4099, 878  # chest X-rays
SIDE, CLASSES = 16, 4
LARGE, MODEST = (0.06, 0.08, 0.1, 0.12), 0.06  # epsilon of the two properties
BETAS = (1.0, 6.0)
JUDGED = 400  # images
Row = dict[str, Any]


def speed(repeats: int, batches: int) -> Iterator[Row]:
    """One row per method: images per second of training, and milliseconds of one more step of its attack per image."""
    profile = load_profile(PROFILE)
    models = [training for variant, training in profile.models() if variant == "resnet18"]
    size, batch = profile.image_size, profile.training.batch_size
    images, labels = bands(batches * batch, 2, size, seed=0)
    grey = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    names = tuple(map(str, range(len(grey))))
    given = ImageSet(grey, labels.numpy(), names, names)
    epochs = {training.name: _epoch(training) for training in models}
    x, y = given.batch(range(batch))
    fits = interleaved(
        {name: lambda e=epoch: e.fit(given) for name, epoch in epochs.items()},
        repeats,
        clock=time.process_time,
    )
    attacking = {name: epoch for name, epoch in epochs.items() if epoch.settings.adversarial}
    searches = interleaved(
        {
            (name, factor): partial(_attack, epoch, x, y, factor)
            for name, epoch in attacking.items()
            for factor in (1, 2)
        },
        repeats,
        clock=time.process_time,
    )
    many = given.batch(range(min(VALIDATION_BATCH, len(given))))[0]
    judged = interleaved(
        {"forward": lambda: epochs["clean"]._hits(many, many[:, 0, 0, 0].long())},
        repeats,
        clock=time.process_time,
    )
    for training in models:
        name, rule = training.name, training.adversarial
        validation = VALIDATED * judged["forward"] / len(many)
        steps = epochs[name].objective.search().steps if rule else 0
        if rule:
            attacked = round(rule.validation_share * VALIDATED)
            validation += attacked * (searches["madry", 1] / batch + judged["forward"] / len(many))
        yield {
            "part": "speed", "training": name, "images_per_s": len(given) / fits[name],
            "attack_ms": 1000 * (searches[name, 2] - searches[name, 1]) / (batch * steps) if rule else None,
            "epoch_s": TRAINED * fits[name] / len(given) + validation,
        }  # fmt: skip


def _attack(epoch: Epoch, x: Tensor, y: Tensor, factor: int) -> None:
    """The attack of a training, with ``factor`` times its steps."""
    search = epoch.objective.search()
    epoch._search(replace(search, steps=factor * search.steps), x, y, 0)


def _epoch(training: TrainingSettings) -> Epoch:
    """The last epoch of a training (the paper's schedule is then in its longest phase), on a fresh ResNet18."""
    torch.manual_seed(0)
    model = build_model("resnet18", 2, mean=0.4, std=0.2).to(memory_format=torch.channels_last)
    rule = training.adversarial
    attack = InnerAttack(model, rule.steps, training.precision) if rule else None
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate, fused=True)
    number = training.epochs - 1
    together = Together(model, Team())
    return Epoch(together, optimizer, attack, training, number, 1.0, 0, torch.device("cpu"))


def bars(count: int, seed: int, *, textured: bool) -> ImageSet:
    """Bright bars of 7 pixels in one of four directions, on a dark ground.

    ``textured``: on a grey ground with a texture of 6 of 255 levels that tells the class as well, and a quarter of the
    bars point anywhere: who learns from the texture is right more often, until somebody attacks it.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    ground = (90, 130) if textured else (0, 26)
    pixels = random.integers(*ground, (count, SIDE, SIDE))
    shown = np.where(random.random(count) < 0.75, labels, random.integers(0, CLASSES, count))
    down, right = np.mgrid[:SIDE, :SIDE]
    stripes = np.stack([part % 2 == 0 for part in (right, down, down + right, right // 2)])
    if textured:
        pixels += np.where(stripes[labels], 6, -6)
    for image, direction in zip(pixels, shown if textured else labels, strict=True):
        y, x = random.integers(3, SIDE - 3, 2)
        along = np.arange(-3, 4)
        dy, dx = ((0, 1), (1, 0), (1, 1), (1, -1))[direction]
        image[y + dy * along, x + dx * along] = random.integers(200, 256)
    names = tuple(map(str, range(count)))
    return ImageSet(pixels.astype(np.uint8), labels.astype(np.int64), names, names)


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    convolutions = [nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*convolutions, nn.Linear(32 * 16, 100), nn.ReLU(), nn.Linear(100, CLASSES))


def outcome(
    rule: AdversarialSettings | None, eps: float, seed: int, *, epochs: int, count: int, textured: bool
) -> Row:
    """One row: the share of ``JUDGED`` images right as they are, under FGSM and under PGD-40, after the last epoch."""
    settings = TrainingSettings(
        epochs=epochs, batch_size=32, learning_rate=0.002, weight_decay=0, dropout=0, adversarial=rule
    )
    x, labels = bars(JUDGED, 2, textured=textured).batch(range(JUDGED))

    def look(done: int, model: nn.Module) -> Row:
        """Of the last epoch, not of the best: overfitting is looked for, not selected away."""
        if done < epochs:
            return {}
        found = {"clean": x, "fgsm": fgsm(model, x, labels, eps=eps)}
        found["pgd"] = pgd(model, x, labels, eps=eps, step_size=eps / 4, steps=40)
        with evaluating(model), torch.no_grad():
            return {name: float((model(z).argmax(1) == labels).float().mean()) for name, z in found.items()}

    given = partial(bars, textured=textured)
    with tempfile.TemporaryDirectory() as folder:
        state = train(
            small(seed), given(count, 0), given(16, 1), settings, seed=seed, folder=Path(folder), progress=False,
            look=look,
        )  # fmt: skip
    right = {name: state.history[-1][name] for name in ("clean", "fgsm", "pgd")}
    return {"part": "property", "training": settings.name, "eps": eps, "seed": seed, "n": JUDGED, **right}


def properties(seeds: range, *, epochs: int, count: int) -> Iterator[Row]:
    """Rows of Fast-AT with and without its random start, and of TRADES along beta, beside clean training."""
    for seed in seeds:
        for eps, start in product(LARGE, (True, False)):
            say(f"Fast-AT, epsilon {eps}, random start {start}, seed {seed}")
            rule = AdversarialSettings(method="fast", epsilon=eps, steps=1, random_start=start)
            yield outcome(rule, eps, seed, epochs=epochs, count=count, textured=False)
        for beta in (None, *BETAS):
            say(f"TRADES, beta {beta}, seed {seed}")
            rule = AdversarialSettings(method="trades", epsilon=MODEST, beta=beta) if beta else None
            yield outcome(rule, MODEST, seed, epochs=max(1, epochs - 8), count=count, textured=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_rivals")
    parser.add_argument(
        "--tiny", action="store_true", help="next to nothing; numbers mean nothing, none written"
    )
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ZeroGradientWarning)  # a constant model has such images
    started = time.perf_counter()
    seeds, epochs, count = (range(1), 1, 64) if tiny else (range(3), 20, 1024)
    rows = [*speed(1 if tiny else 3, 1 if tiny else 2), *properties(seeds, epochs=epochs, count=count)]
    rows = [{key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    if tiny:
        print(json.dumps(rows, indent=1))
        return
    circumstances = provenance("cpu", time.perf_counter() - started) | {"threads": torch.get_num_threads()}
    write_text(PLACE, json.dumps({"provenance": circumstances, "rows": rows}, indent=1) + "\n")
    print(f"written to {PLACE}")


if __name__ == "__main__":
    main()
