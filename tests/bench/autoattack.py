"""Image by image, the successes of the ensemble and of the public AutoAttack: python -m tests.bench.autoattack
--runs-dir runs.

With pyautoattack on the path (``make bench`` puts it into .bench), and the two models that these leave in ``runs``:

    meddef train --profile smoke --variant resnet18 --control --dataset phantom_xray
    meddef train --profile smoke --variant resnet18 --control --dataset phantom_oct
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from inspect import signature
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.atomic import write_text
from meddef.attacks.ensemble import Attack, in_turn, members
from meddef.attacks.fab import fab
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import batches, load_trained
from meddef.evaluation.plan import RunOptions, make_plan, splits_of
from meddef.evaluation.provenance import provenance
from meddef.settings import load_profile, training_name
from tests.bench import peers
from tests.bench.public_autoattack import budget, standard
from tests.bench.table import say

PLACE = Path(__file__).parents[2] / "results" / "bench" / "autoattack.json"
PROFILE, VARIANT, SEED, PROCESSES = "smoke", "resnet18", 0, 2
CONDITIONS = (
    ("phantom_xray", 8 / 255, 64),
    ("phantom_oct", 8 / 255, 32),
    ("phantom_xray", 0.05, 64),
)  # ε, images
FIRST_EDITION = {"steps": 50, "queries": 500}  # with which the first records of the profiles were made
Attacks = Callable[[int], dict[str, Attack]]


def same_budget(classes: int) -> dict[str, Attack]:
    """The ensemble with the steps and queries of AutoAttack's standard version."""
    theirs = budget()
    ours = members(classes, steps=theirs["apgd-ce"]["steps"], queries=theirs["square"]["queries"])
    return ours | {"fab": partial(fab, steps=theirs["fab-t"]["steps"])}


def ensembles() -> dict[str, tuple[Attacks, dict[str, Any]]]:
    """Name -> attacks by number of classes, and how gradients are made cheaper."""
    return {
        "same_budget": (same_budget, {}),
        "default": (members, {}),
        "first_edition": (partial(members, **FIRST_EDITION), {"fast": True}),
    }


def budgets() -> list[dict[str, Any]]:
    """One row per contestant, number of classes and attack: what it may spend, from the code of either side.

    ``targets`` is None for all other classes, 0 for none; ``classes`` is None where nothing depends on it.
    """
    theirs = [
        {"who": "autoattack", "classes": None, "member": name, **spent} for name, spent in budget().items()
    ]
    return theirs + [row for who, (attacks, _) in ensembles().items() for row in budgets_of(who, attacks)]


def budgets_of(who: str, attacks: Attacks) -> list[dict[str, Any]]:
    """The rows of one of the ensembles."""
    return [
        {"who": who, "classes": classes, "member": name, **_spent(attack)}
        for classes in (2, 4)
        for name, attack in attacks(classes).items()
    ]


def _spent(attack: Any) -> dict[str, Any]:
    """Steps, restarts, targets, queries and loss of a member: what it was given, else its defaults."""
    defaults = {name: p.default for name, p in signature(attack.func).parameters.items()}
    given = defaults | attack.keywords
    return {
        name: given[name] for name in ("steps", "restarts", "targets", "queries", "loss") if name in given
    }


def contest(
    model: nn.Module, x: Tensor, labels: Tensor, classes: int, eps: float
) -> Iterator[dict[str, Any]]:
    """One row per contestant: the first of its attacks to succeed, one character per image, and the time taken."""
    theirs: Attacks = lambda _: standard(model, classes, eps, SEED)  # noqa: E731
    for who, (attacks, cheaper) in {"autoattack": (theirs, {}), **ensembles()}.items():
        started = time.perf_counter()
        adv, by = in_turn(model, x, labels, attacks, radius=torch.full((len(x),), eps), seed=SEED, **cheaper)
        seconds = time.perf_counter() - started
        say(
            f"{who} at ε = {eps:.4f}, {classes} classes: {seconds:.0f} s, {int((by < 0).sum())} of {len(x)} resist"
        )
        yield {
            "who": who,
            "members": list(attacks(classes)),
            "by": "".join("-" if i < 0 else str(i) for i in by.tolist()),
            "linf": float((adv.detach().double() - x.double()).abs().max()),
            "seconds": round(seconds, 1),
            "cheaper": cheaper,
        }


def condition(runs_dir: Path, dataset: str, eps: float, n: int) -> list[dict[str, Any]]:
    """The rows of one condition; one thread."""
    torch.set_num_threads(1)
    model, x, labels, about = subject(runs_dir, dataset, n)
    return [{**about, "eps": eps, **row} for row in contest(model, x, labels, about["classes"], eps)]


def subject(runs_dir: Path, dataset: str, n: int) -> tuple[nn.Module, Tensor, Tensor, dict[str, Any]]:
    """The smoke profile's model whose weights lie in ``runs_dir``, ``n`` test images, labels, and what they are."""
    profile = load_profile(PROFILE).model_copy(update={"controls": [VARIANT]})
    options = RunOptions(runs_dir / profile.name)
    images = next(d for d in profile.datasets if d.name == dataset)
    (cell,) = (c for c in make_plan(profile, options).cells if c.dataset == dataset and _is_ours(c))
    splits = splits_of(images, profile, options)
    model = next(iter(load_trained(cell, splits, options.folder, [0.0], "global"))).requires_grad_(False)
    (batch,) = batches(splits.test, n, n, "cpu", torch.contiguous_format)
    about = {
        "dataset": dataset, "variant": VARIANT, "training": "adversarial", "seed": SEED,
        "image_size": profile.image_size, "n": len(batch[1]), "classes": len(splits.classes),
        "data_fingerprint": splits.fingerprint, "labels": "".join(map(str, batch[1].tolist())),
    }  # fmt: skip
    return model, *batch, about


def _is_ours(cell: Cell) -> bool:
    given = cell.settings
    return (
        cell.kind == "train"
        and given["variant"] == VARIANT
        and training_name(given["training"]) == "adversarial"
    )


def write(rows: list[dict[str, Any]], seconds: float) -> None:
    circumstances = provenance("cpu", seconds) | {"threads": 1, "profile": PROFILE}
    circumstances["versions"] = circumstances["versions"] | {"pyautoattack": peers.versions()["pyautoattack"]}
    content = {"provenance": circumstances, "budgets": budgets(), "rows": rows}
    write_text(PLACE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.autoattack")
    parser.add_argument("--runs-dir", type=Path, required=True)
    given = parser.parse_args()
    started = time.perf_counter()
    provenance("cpu", 0)  # the commit is the one that starts
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(PROCESSES, get_context("fork")) as pool:
        for part in pool.map(partial(condition, given.runs_dir), *zip(*CONDITIONS, strict=True)):
            rows += part
            write(rows, time.perf_counter() - started)
    print(f"written to {PLACE}")
