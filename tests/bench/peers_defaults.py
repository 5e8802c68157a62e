"""One attack in several libraries, by their defaults and with equal settings: python -m tests.bench.peers_defaults
--runs-dir runs.

With torchattacks, cleverhans and captum on the path (``make bench`` puts them into .bench), and the model that this
leaves in ``runs``:

    meddef train --profile smoke --variant resnet18 --control --dataset phantom_xray
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.atomic import write_text
from meddef.attacks import ATTACKS, ensemble, pgd
from meddef.attacks.options import with_step_size
from meddef.evaluation.provenance import provenance
from tests.bench.autoattack import subject
from tests.bench.table import say

PLACE = Path(__file__).parents[2] / "results" / "bench" / "peers.json"
DATASET, SEED = "phantom_xray", 0
EPS, STEP, STEPS, IMAGES = 4 / 255, 1 / 255, 40, 128
QUERIES = 300
SETTINGS = f"step 1/255, {STEPS} steps, random start"
Attack = Callable[[Tensor, Tensor], Tensor]
Row = dict[str, Any]


def attacks(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    """Library, its settings in words, whose labels it takes, and the attack."""
    torch.manual_seed(SEED)
    spent = {"steps": STEPS, "queries": QUERIES}
    yield (
        "meddef",
        f"ensemble, {STEPS} steps, {QUERIES} queries",
        "true",
        partial(ensemble, model, eps=EPS, **spent),
    )
    default = with_step_size("pgd", {"steps": ATTACKS["pgd"].keywords["steps"]}, EPS)  # as a command gives it
    for words, given in (("by default", default), (SETTINGS, {"step_size": STEP, "steps": STEPS})):
        yield "meddef", words, "true", partial(pgd, model, eps=EPS, seed=SEED, **given)
    yield from _torchattacks(model)
    yield from _foolbox(model)
    yield from _art(model)
    yield from _cleverhans(model)
    yield from _captum(model)


def _torchattacks(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    from torchattacks import PGD

    yield "torchattacks", "by default", "true", PGD(model, eps=EPS)
    yield "torchattacks", SETTINGS, "true", PGD(model, eps=EPS, alpha=STEP, steps=STEPS)


def _foolbox(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD

    wrapped = PyTorchModel(model, bounds=(0, 1), device="cpu")
    for words, given in (("by default", {}), (SETTINGS, {"abs_stepsize": STEP, "steps": STEPS})):
        attack = LinfPGD(**given)
        yield "foolbox", words, "true", lambda x, y, a=attack: a(wrapped, x, y, epsilons=EPS)[1]


def _art(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    sizes = {"input_shape": (3, 64, 64), "nb_classes": 2, "clip_values": (0.0, 1.0), "device_type": "cpu"}
    classifier = PyTorchClassifier(model=model, loss=nn.CrossEntropyLoss(), **sizes)
    equal = {"eps_step": STEP, "max_iter": STEPS, "num_random_init": 1}
    for words, labels, given in (
        ("by default", "predicted", {}),
        (SETTINGS, "predicted", equal),
        (SETTINGS, "true", equal),
    ):
        attack = ProjectedGradientDescent(classifier, eps=EPS, verbose=False, **given)

        def run(x: Tensor, y: Tensor, attack: Any = attack, own: bool = labels == "true") -> Tensor:
            return torch.from_numpy(attack.generate(x.numpy(), y.numpy() if own else None))

        yield "ART", words, labels, run


def _cleverhans(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    bounds = {"clip_min": 0.0, "clip_max": 1.0}
    run = partial(
        projected_gradient_descent, model, eps=EPS, eps_iter=STEP, nb_iter=STEPS, norm=float("inf"), **bounds
    )
    yield "cleverhans", SETTINGS, "predicted", lambda x, y: run(x)
    yield "cleverhans", SETTINGS, "true", lambda x, y: run(x, y=y)


def _captum(model: nn.Module) -> Iterator[tuple[str, str, str, Attack]]:
    from captum.robust import PGD

    shared = {"radius": EPS, "step_size": STEP, "step_num": STEPS, "random_start": True}
    for words, loss in (
        (f"{SETTINGS}; its default loss", None),
        (SETTINGS, lambda logits, y: F.cross_entropy(logits, y, reduction="none")),
    ):
        attack = PGD(model, loss_func=loss, lower_bound=0.0, upper_bound=1.0)
        yield "captum", words, "true", lambda x, y, a=attack: a.perturb(x, target=y, **shared)


def measured(model: nn.Module, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """One row per attack: images right before and after it, and how far beyond ε it went."""
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    for library, settings, by, attack in attacks(model):
        say(f"{library}: {settings}, labels {by}")
        started = time.process_time()
        found = attack(images.clone(), labels)
        spent = time.process_time() - started
        with torch.no_grad():
            after = model(found.float()).argmax(1) == labels
        yield {
            "library": library, "version": "" if library == "meddef" else version(NAMES.get(library, library)),
            "settings": settings, "labels": by, "n": len(labels), "before": int(right.sum()),
            "after": int(after.sum()), "became_right": int((after & ~right).sum()), "cpu_seconds": round(spent, 1),
            "beyond": float((found.double() - images.double()).abs().max() - EPS),
        }  # fmt: skip


NAMES = {"ART": "adversarial-robustness-toolbox"}


def main() -> None:
    """Attack the model and write the rows with their provenance."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers_defaults")
    parser.add_argument("--runs-dir", type=Path, required=True)
    torch.set_num_threads(1)
    started = time.perf_counter()
    circumstances = provenance("cpu", 0)  # the commit is the one that starts
    model, images, labels, about = subject(parser.parse_args().runs_dir, DATASET, IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = list(measured(model, images, labels))
    circumstances["seconds"] = round(time.perf_counter() - started, 1)
    content = {"about": {**about, "eps": EPS}, "rows": rows, "provenance": circumstances}
    write_text(PLACE, json.dumps(content, indent=1) + "\n")
    for row in rows:
        say(str(row))


if __name__ == "__main__":
    main()
