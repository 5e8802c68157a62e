"""What a GPU does, in absolute numbers: python -m tests.bench.bench_gpu [FOLDER].

The workloads of the CPU's table at the paper's 224 px, images per second in each arithmetic and by torchattacks if
installed; image-steps per second of PGD beside the floor (bare forward and input-gradient passes); training images per
second; and whether the cheaper arithmetic changes verdicts.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef import arithmetic
from meddef.atomic import write_text
from meddef.attacks import bim, ensemble, fgsm, jsma, pgd
from meddef.evaluation.provenance import provenance
from meddef.models import build_model
from tests.bench import bench_jsma, bench_pruning, peers, workload
from tests.bench.bench_ensemble import BOOK
from tests.bench.bench_gradient import GRID
from tests.bench.store import FOLDER
from tests.bench.table import interleaved, say

DEVICE, SIZE, CLASSES, STEPS, REPEATS = "cuda", 224, 2, 20, 3
BATCHES = (16, 128)
BATCH, LONG = 128, 40  # of the table: images, steps
TRAINING = workload.FULL.training
MOVES = 20  # of JSMA
JUDGED, JUDGED_EPS = 256, (0.02, 0.04, 0.06)
MODES: dict[str, dict[str, Any]] = {
    "float32": {},
    "TF32": {},
    "bf16": {"precision": "bf16"},
    "fast": {"fast": True},
    "fast bf16": {"fast": True, "precision": "bf16"},
}


def main() -> None:
    """Write gpu.json, for the book's page on cost, anew after every part: device time may end before the bench does."""
    started = time.perf_counter()
    place = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER) / "gpu.json"
    rows: list[dict[str, Any]] = []
    for part in (
        table,
        attack_speed,
        verdicts,
        training_speed,
        jsma_speed,
        jsma_small,
        pruned,
        compiled,
        worst_case,
    ):
        try:
            for row in part():
                say(json.dumps(row))
                rows.append(row)
                circumstances = provenance(DEVICE, time.perf_counter() - started)
                circumstances["threads"] = torch.get_num_threads()
                circumstances["versions"] |= peers.versions()
                content = {"rows": rows, "provenance": circumstances}
                write_text(place, json.dumps(content, indent=1) + "\n")
        except Exception:  # lent time: what one part lacks must not cost the others
            traceback.print_exc()


def table() -> Iterator[dict[str, Any]]:
    """The gradient attacks of the CPU's table, on a model trained without defence."""
    model = workload.undefended(CLASSES, SIZE, TRAINING, DEVICE)
    x, labels = workload.right(model, BATCH, CLASSES, SIZE)
    one, many = {"eps": workload.EPS}, {"eps": workload.EPS, "step_size": workload.STEP_SIZE, "steps": LONG}
    theirs = {"eps": workload.EPS, "alpha": workload.STEP_SIZE, "steps": LONG}
    grid = [peers.torchattacks("FGSM", model, x, labels, eps=eps) for eps in GRID]
    for name, attack, settings, steps, peer in (
        ("fgsm", fgsm, one, 1, peers.torchattacks("FGSM", model, x, labels, **one)),
        ("fgsm at eight eps", fgsm, {"eps": GRID}, 1, together(grid)),
        ("bim-40", bim, many, LONG, peers.torchattacks("BIM", model, x, labels, **theirs)),
        ("pgd-40", pgd, many, LONG, peers.torchattacks("PGD", model, x, labels, **theirs)),
        ('pgd-40, stop="first"', pgd, many | {"stop": "first"}, LONG, {}),
    ):
        runs: peers.Calls = {"floor": partial(workload.floor, model, x, labels, steps), **peer}
        for mode, keywords in MODES.items():
            call = partial(attack, model, x, labels, **settings, **keywords)
            runs[mode] = partial(proper, call) if mode == "float32" else call
        for mode, seconds in medians(runs).items():
            yield done(name, mode, len(x), seconds)


def together(calls: list[peers.Calls]) -> peers.Calls:
    return {"torchattacks": lambda: [call["torchattacks"]() for call in calls]} if calls[0] else {}


def jsma_small() -> Iterator[dict[str, Any]]:
    """JSMA at the sizes where torchattacks, which searches a matrix of all pairs, runs."""
    for size, (channels, images, moves) in bench_jsma.SMALL.items():
        both = bench_jsma.calls(size, DEVICE)
        runs = {"TF32": both.pop("meddef"), **both}
        for mode, seconds in medians(runs).items():
            yield done(f"jsma, {size} x {size} x {channels}, {moves} moves", mode, images, seconds)


def pruned() -> Iterator[dict[str, Any]]:
    """Models per second, pruned at nine rates."""
    runs = bench_pruning.calls(build_model("resnet18", 4).to(DEVICE))
    for mode, seconds in medians({"TF32": runs["meddef"], "torch": runs["torch"]}).items():
        yield done("nine prune rates", mode, len(bench_pruning.RATES), seconds)


def worst_case() -> Iterator[dict[str, Any]]:
    """The strong ensemble on an adversarially trained model, one run each: the peer takes long."""
    size = workload.FULL.small
    model = workload.defended(4, size, TRAINING, DEVICE)
    x, labels = workload.right(model, BATCH, 4, size)
    runs: peers.Calls = {"TF32": partial(ensemble, model, x, labels, eps=workload.ENSEMBLE_EPS, **BOOK)}
    runs |= peers.torchattacks("AutoAttack", model, x, labels, eps=workload.ENSEMBLE_EPS, n_classes=4, seed=0)
    for mode, run in runs.items():
        started = time.perf_counter()
        left = workload.robust(model, run(), labels)
        yield done(f"ensemble, {size} px, K = 4", mode, len(x), time.perf_counter() - started) | {
            "robust": left
        }


def attack_speed() -> Iterator[dict[str, Any]]:
    """PGD of a few steps, each mode by turns."""
    for variant in ("resnet18", "full"):
        model = network(variant)
        for batch in BATCHES:
            x, labels = batch_of(batch)
            runs = {"floor": partial(workload.floor, model, x, labels, STEPS)}
            for mode, keywords in MODES.items():
                runs[mode] = partial(attacked, model, x, labels, mode, **keywords)
            for mode, seconds in medians(runs).items():
                yield speed("PGD", "image-steps/s", variant, mode, batch, batch * STEPS / seconds)


def training_speed() -> Iterator[dict[str, Any]]:
    """Optimizer steps on clean batches of 32."""
    x, labels = batch_of(32)
    for variant in ("resnet18", "full"):
        model = network(variant).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        runs = {
            mode: partial(fit, model, optimizer, x, labels, bf16=mode == "bf16")
            for mode in ("float32", "bf16")
        }
        for mode, seconds in medians(runs).items():
            yield speed("training", "images/s", variant, mode, 32, 32 * STEPS / seconds)


def jsma_speed() -> Iterator[dict[str, Any]]:
    """Moves of JSMA, each a pair of features per image; so small that no image is fooled and leaves."""
    x, _ = batch_of(8)
    for variant in ("resnet18", "full"):
        model = network(variant)
        runs = {"TF32": partial(jsma, model, x, answers(model, x), theta=1e-4, gamma=0.14, max_steps=MOVES)}
        for mode, seconds in medians(runs).items():
            yield speed("JSMA", "image-moves/s", variant, mode, 8, 8 * MOVES / seconds)


def verdicts() -> Iterator[dict[str, Any]]:
    """Robust accuracy of one adversarially trained model under PGD-40 in each arithmetic, evaluated in full float32."""
    model = workload.defended(CLASSES, 64, TRAINING, DEVICE)
    x, labels = (part.to(DEVICE) for part in workload.bands(JUDGED, CLASSES, 64, seed=0))
    for eps in JUDGED_EPS:
        for mode, keywords in MODES.items():
            with without_tf32(mode == "float32"):
                found = pgd(model, x, labels, eps=eps, step_size=eps / 8, steps=40, **keywords)
            with without_tf32(True):
                judged = answers(model, found)
            tf32 = answers(model, found)
            yield {
                "what": "verdicts", "eps": eps, "mode": mode, "n": JUDGED,
                "robust": int((judged == labels).sum()), "other_in_tf32": int((judged != tf32).sum()),
            }  # fmt: skip


def compiled() -> Iterator[dict[str, Any]]:
    """Whether torch.compile pays for the passes an attack is made of, and what it costs first."""
    for variant in ("resnet18", "full"):
        for batch in (32, 128):
            model, (x, labels) = network(variant), batch_of(batch)
            quick = torch.compile(model)
            started = time.perf_counter()
            workload.floor(quick, x, labels, 1)
            torch.cuda.synchronize()
            first = time.perf_counter() - started
            runs = {
                "floor": partial(workload.floor, model, x, labels, STEPS),
                "floor, compiled": partial(workload.floor, quick, x, labels, STEPS),
            }
            for mode, seconds in medians(runs).items():
                row = speed("compile", "image-steps/s", variant, mode, batch, batch * STEPS / seconds)
                yield row | {"first": round(first, 1)}


def network(variant: str) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(variant, CLASSES, mean=0.4, std=0.2)
    return model.to(DEVICE).to(memory_format=torch.channels_last).eval()


def batch_of(n: int) -> tuple[Tensor, Tensor]:
    x, labels = workload.bands(n, CLASSES, SIZE, seed=0)
    return x.to(DEVICE, memory_format=torch.channels_last), labels.to(DEVICE)


def attacked(model: nn.Module, x: Tensor, labels: Tensor, mode: str, **keywords: Any) -> None:
    with without_tf32(mode == "float32"):
        pgd(model, x, labels, eps=0.01, step_size=0.001, steps=STEPS, **keywords)


def fit(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor, *, bf16: bool) -> None:
    for _ in range(STEPS):
        with without_tf32(True), torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(x).float(), labels)
        optimizer.zero_grad()
        with without_tf32(True):
            loss.backward()
        optimizer.step()


def answers(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1)


def proper(call: Callable[[], object]) -> None:
    with without_tf32(True):
        call()


def without_tf32(off: bool) -> AbstractContextManager[None]:
    return arithmetic.without_tf32() if off else nullcontext()


def medians(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of interleaved runs, each waited for."""
    return interleaved({name: partial(waited_for, run) for name, run in runs.items()}, REPEATS)


def waited_for(run: Callable[[], object]) -> None:
    run()
    torch.cuda.synchronize()


def speed(what: str, unit: str, variant: str, mode: str, batch: int, value: float) -> dict[str, Any]:
    return {
        "what": what,
        "unit": unit,
        "model": variant,
        "mode": mode,
        "batch": batch,
        "value": float(f"{value:.4g}"),
    }


def done(name: str, mode: str, n: int, seconds: float) -> dict[str, Any]:
    """A cell of the table: images (or models) a second."""
    return {"what": "table", "workload": name, "mode": mode, "n": n, "value": float(f"{n / seconds:.4g}")}


if __name__ == "__main__":
    main()
