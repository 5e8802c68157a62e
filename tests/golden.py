"""Golden cells: a few digits of what each domain computes, to notice results that move under an old version.

    python -m tests.golden   # writes tests/golden.json; only after the version of the domain that moved was raised

Digits are means over images, so that the last bits in which processors differ do not show.
"""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from meddef.attacks import ATTACKS
from meddef.attacks.reach import step_size
from meddef.attacks.universal import METHODS as UNIVERSAL
from meddef.attacks.universal import perturbed, universal
from meddef.data.images import ImageSet
from meddef.data.phantom import FAMILIES, draw_phantoms
from meddef.data.policies import paper_split, patient_split
from meddef.data.preprocessing import Clahe, Denoise, Preprocessing
from meddef.defenses import DEFENSES, Smoothed, build_defense
from meddef.evaluation.cells import run_attack
from meddef.evaluation.plan import RunOptions, make_plan, splits_of
from meddef.models import RIVALS, VARIANTS, Normalized, build_model
from meddef.probes import pixels
from meddef.probes.registry import PROBES
from meddef.pruning import prunable_weights, prune_l1
from meddef.results_version import RESULTS_VERSION
from meddef.robustness import robustness_report
from meddef.saliency import measure_saliency
from meddef.settings import AdversarialSettings, Profile, SaliencySettings, TrainingSettings
from meddef.training import EpsilonSchedule, train
from meddef.training.methods import METHODS
from meddef.training.objective import Passed
from meddef.training.process_group import Team

PLACE = Path(__file__).with_name("golden.json")
SIZE = 32
VERDICTS = {"FAIL": 0.0, "PASS": 1.0, "N-A": 2.0}
RESISTED = 0.01  # ε of attacks on a network that resists, so that they use all of their steps
QUICK: dict[str, dict[str, Any]] = {
    "bim": {"steps": 5},
    "pgd": {"steps": 12, "restarts": 2},
    "jsma": {"max_steps": 6, "theta": 0.3},
    "apgd": {"steps": 8},
    "fab": {"steps": 4, "restarts": 2},
    "square": {"queries": 20},
    "ensemble": {"steps": 6, "queries": 10},
    "cw": {"steps": 20, "searches": 2},
    "hopskipjump": {"queries": 200},
    "patch": {"steps": 5},
}
Digits = dict[str, float]


def network(classes: int = 4) -> nn.Module:
    """A small network with BatchNorm and dropout whose weights come from seed 0: (N, 3, 32, 32) -> (N, K)."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2)]
    net = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(12 * 36, classes))
    return Normalized(net, 0.4, 0.25).eval()


class Wavy(nn.Module):
    """Class 0 wherever the image lies, with a loss that rises and falls on the way: images (N, 3, 32, 32) -> (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3 * SIZE**2, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        waves = torch.cos(6 * self.first(4 * (x - 0.3).flatten(1)))
        return self.last(waves) + 2 * F.one_hot(waves.new_zeros(len(waves), dtype=torch.int64), 4)


def phantoms(count: int, first_patient: int = 0) -> ImageSet:
    drawn = draw_phantoms("oct", count, size=SIZE, first_patient=first_patient)
    return ImageSet(drawn.images, drawn.labels, tuple(map(str, range(count))), drawn.patients)


def data() -> Digits:
    digits = {}
    for family in FAMILIES:
        drawn = draw_phantoms(family, 12, size=SIZE)
        digits |= {f"{family} mean": drawn.images.mean(), f"{family} lesion": drawn.masks.sum()}
    grey = draw_phantoms("xray", 1, size=80).images[0]
    for name, steps in {
        "as it is": Preprocessing(),
        "clahe": Preprocessing(clahe=Clahe()),
        "nl_means": Preprocessing(denoise=Denoise(method="nl_means", strength=3), min_max=True),
    }.items():
        digits[f"prepared {name}"] = steps.apply(grey[:, :60], SIZE).mean()
    labels = np.arange(60) % 3
    for name, where in (
        ("paper", paper_split(labels, 0)),
        ("patient", patient_split(labels, [list(range(i, i + 2)) for i in range(0, 60, 2)], 0)),
    ):
        digits |= {
            f"{name} {part}": float(np.flatnonzero(where == part).sum()) for part in ("train", "val", "test")
        }
    return digits


def models() -> Digits:
    images, _ = phantoms(4).batch(range(4))
    digits = {}
    for variant in (*VARIANTS, *RIVALS):
        torch.manual_seed(0)
        model = build_model(variant, 4, mean=0.4, std=0.25).eval()
        pruned = prune_l1(model, 0.3)
        kept = torch.cat([weight.flatten() for weight in prunable_weights(pruned).values()])
        with torch.no_grad():
            digits[variant] = model(images).square().mean().item()
        digits[f"{variant} pruned"] = kept[kept != 0].abs().mean().item()
    return digits


def training() -> Digits:
    digits = {}
    rules = [AdversarialSettings.model_validate({"method": method, "steps": 4}) for method in METHODS]
    for rule in (None, *rules[:-1]):  # rounding decides some signs in TRADES' attack, and so what is learnt
        settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=0.003, adversarial=rule)
        name = settings.name
        model = network()
        with tempfile.TemporaryDirectory() as folder:
            state = train(
                model, phantoms(48), phantoms(24, 40), settings, seed=1, folder=Path(folder), progress=False
            )
        numbers = {k: v for k, v in state.history[-1].items() if isinstance(v, float)}
        digits |= {f"{name} {key}": value for key, value in numbers.items()}
        digits[f"{name} weights"] = sum(p.detach().abs().sum().item() for p in model.parameters())
    digits |= trades()
    for steps in (10, 40):
        schedule = EpsilonSchedule(50, steps=steps)
        for name in ("epsilon", "step_size", "adversarial_weight"):
            digits[f"{name} of 50 epochs, {steps} steps"] = sum(getattr(schedule, name)(e) for e in range(50))
    return digits | varied_training()


def trades() -> Digits:
    """Of TRADES its loss on given logits, and how it searches."""
    rule = AdversarialSettings(method="trades", steps=4)
    objective = METHODS["trades"](TrainingSettings(adversarial=rule), 0, 1.0)
    clean, adversarial = torch.linspace(-1, 2, 24).view(2, 3, 4).square()
    losses = objective.loss(Passed(clean, adversarial, torch.tensor([0, 3, 2]), 3, Team()))
    search = objective.search()
    names = ("minimised", "clean", "divergence")
    digits = {f"trades {name}": loss.item() for name, loss in zip(names, losses, strict=True)}
    return digits | {f"trades {name}": getattr(search, name) for name in ("eps", "step_size", "steps")}


def varied_training() -> Digits:
    """What the plain settings do not touch: weights of classes, augmentation, easing, and a model that resists some."""
    rule = AdversarialSettings(steps=6, patience=1, tolerance=0, validation_share=0.5)
    settings = TrainingSettings(
        epochs=8, batch_size=8, learning_rate=0.1, class_weights=True, augmentation=["horizontal_flip", "translate"],
        adversarial=rule,
    )  # fmt: skip
    torch.manual_seed(0)
    dull = Normalized(nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 4)), 0.4, 0.25)
    with tempfile.TemporaryDirectory() as folder:
        every = phantoms(64)
        some = np.flatnonzero(np.arange(64) % 8 < 5)
        uneven = ImageSet(every.images[some], every.labels[some], *[tuple(map(str, some))] * 2)
        state = train(dull, uneven, phantoms(60, 70), settings, seed=1, folder=Path(folder), progress=False)
    names = ("loss_clean", "loss_adversarial", "ease")
    digits = {f"varied {name}": state.history[-1][name] for name in names}
    return digits | {f"varied score {row['epoch']}": row["score"] for row in state.history}


def attacks() -> Digits:
    images, _ = phantoms(8).batch(range(8))
    model = network()
    with torch.no_grad():
        labels = model(images).argmax(1)
    digits = {}
    for name, registered in ATTACKS.items():
        found = registered(model, images, labels, **QUICK.get(name, {}))
        with torch.no_grad():
            digits[f"{name} loss"] = F.cross_entropy(model(found), labels).item()
        digits[f"{name} moved"] = (found - images).abs().mean().item()
    wavy, zeros = Wavy().eval(), torch.zeros(8, dtype=torch.int64)
    for name in ("pgd", "apgd", "fab", "square", "ensemble"):
        found = ATTACKS[name](wavy, images, zeros, eps=RESISTED, **QUICK[name])
        with torch.no_grad():
            digits[f"{name} resisted, loss"] = F.cross_entropy(wavy(found), zeros).item()
    settings = {"eps": 0.5, "step_size": 0.1, "steps": 12, "norm": "l2"}
    for start in (False, True):
        found = ATTACKS["pgd"](model, images, labels, random_start=start, **settings)
        with torch.no_grad():
            digits[f"pgd l2 loss, random start {start}"] = F.cross_entropy(model(found), labels).item()
    digits |= {f"step of {steps} steps": step_size(0.05, steps) for steps in (5, 40)}
    for method, eps in zip(UNIVERSAL, (0.4, 0.02), strict=True):
        delta = universal(model, images, eps=eps, method=method, epochs=2, step_size=eps / 2, batch_size=3)
        with torch.no_grad():
            loss = F.cross_entropy(model(perturbed(images, delta, eps)), labels)
        digits |= {f"universal {method}": delta.abs().mean().item(), f"universal {method} loss": loss.item()}
    return digits


def defenses() -> Digits:
    """The output of each defence, and the loss of its adaptive attacker."""
    images, labels = phantoms(8).batch(range(8))
    model, settings = network(), {"smoothing": {"samples": 20}, "pca": {"components": 6}}
    digits = {}
    for name in DEFENSES:
        defended = build_defense(name, model, settings.get(name), training=(images, labels))
        with torch.no_grad():
            digits[name] = defended(images).square().mean().item()
        x = images.clone().requires_grad_()
        loss = F.cross_entropy(defended.seen_by("adaptive")(x), labels)
        digits[f"{name}, adaptive"] = loss.item()
        digits[f"{name}, gradient"] = 1e3 * torch.autograd.grad(loss, x)[0].abs().mean().item()
    found = Smoothed(model, sigma=0.12).certify(images, samples=100)
    return digits | {"certified": float(found.classes.sum()), "radius": found.radius.mean().item()}


def saliency() -> Digits:
    drawn = draw_phantoms("oct", 12, size=SIZE)
    images = ImageSet(drawn.images, drawn.labels, tuple(map(str, range(12))), drawn.patients)
    torch.manual_seed(0)
    model = build_model("resnet18", 4, mean=0.4, std=0.25).eval()
    rule = SaliencySettings(images=4, layer="layer2", removal_steps=3)
    rows = measure_saliency(model, images, drawn.masks, rule)["images"]
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def evaluation() -> Digits:
    """One attack cell of a profile: which images, in which order, with which seed, and their evaluation."""
    profile = Profile.model_validate({
        "name": "golden", "description": "", "image_size": SIZE, "variants": ["resnet18"], "seeds": [3],
        "datasets": [{"name": "phantom_oct", "split_policy": "released", "sizes": {"train": 8, "val": 4, "test": 20}}],
        "batch_size": 5, "training": {"epochs": 1},
        "grids": {"epsilon": {"images": 12, "eps": [0.03], "attacks": {"pgd": {"steps": 8}, "noise": {}}}},
    })  # fmt: skip
    seen: list[torch.Tensor] = []
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(Path(folder))
        plan = make_plan(profile, options)
        trained = next(cell for cell in plan.cells if cell.kind == "train")
        cell = next(cell for cell in plan.cells if cell.settings.get("attack") == "pgd")
        splits = splits_of(profile.datasets[0], profile, options)
        (record,) = run_attack(cell, trained, splits, network(), Path(folder), progress=False)
        noise = next(cell for cell in plan.cells if cell.settings.get("attack") == "noise")
        judged = network()
        judged.register_forward_hook(lambda module, given, logits: seen.append(given[0]))
        run_attack(noise, trained, splits, judged, Path(folder), progress=False)
    pattern = torch.rand((3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)) - 0.5
    digits = {f"image {i} is of class": float(label) for i, label in enumerate(record["labels"])}
    names = ("n", "correct_before", "correct_after", "flipped", "linf", "l0")
    clean, attacked, *_asked_again = seen[-4:]  # the last batch, and warn_if_coupled
    digits["noise of the seed"] = ((attacked - clean) * pattern).sum().item()
    return digits | {name: float(record[name]) for name in names}


def audit() -> Digits:
    images, _ = phantoms(16).batch(range(16))
    model = network()
    with torch.no_grad():
        labels = model(images).argmax(1)
    items = robustness_report(model, [(images, labels)], eps=0.03, budget="brief")
    digits = {item.name: VERDICTS[item.verdict] for item in items}
    for item in items:
        if "(95 % from" in item.detail:  # the verdict hangs on an interval, which is in the words alone
            digits[f"{item.name} in words"] = sum(map(float, re.findall(r"[\d.]*\d", item.detail)))
    numbers = ((item.name, key, value) for item in items for key, value in item.numbers.items())
    return digits | {f"{name} {key}": float(v) for name, key, v in numbers if isinstance(v, int | float)}


def probes() -> Digits:
    """Every probe of a model, and that of pixels, on a few phantoms."""
    drawn, healthy = (draw_phantoms("oct", 8, size=SIZE, healthy=healthy) for healthy in (False, True))
    ill = drawn.masks.any((1, 2))
    grey, bare, masks = (torch.from_numpy(each[ill]) for each in (drawn.images, healthy.images, drawn.masks))
    images = grey[:, None].div(255).repeat(1, 3, 1, 1)
    known = {"regions": {"mask": masks}, "shortcuts": {"lesion removed": bare}}
    torch.manual_seed(0)
    model, labels = build_model("full", 4, mean=0.4, std=0.25).eval(), torch.from_numpy(drawn.labels[ill])
    digits = {}
    for name, probe in PROBES.items():
        few = {"steps": 3} if "steps" in probe.rule.model_fields else {}
        few |= {"attacks": {"fgsm": {}, "pgd": {}}} if name == "visibility" else {}
        found = probe.measure(model, images, labels, probe.rule(**few), known.get(name, {}))
        digits |= {f"{name}: {key}": values.nanmean().item() for key, values in found.items()}
    found = pixels.measure(drawn.images, drawn.images // 2, drawn.masks)
    return digits | {f"pixels: {name}": np.nanmean(values) for name, values in found.items()}


DOMAINS: dict[str, Callable[[], Digits]] = {
    "data": data,
    "models": models,
    "training": training,
    "attacks": attacks,
    "defenses": defenses,
    "saliency": saliency,
    "evaluation": evaluation,
    "audit": audit,
    "probes": probes,
}


def compute(domain: str) -> Digits:
    """The digits of one domain, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: float(value) for name, value in DOMAINS[domain]().items()}
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    content = {d: {"version": RESULTS_VERSION[d], "digits": compute(d)} for d in DOMAINS}
    PLACE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
