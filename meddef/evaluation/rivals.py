"""Cells beyond adversarial training: defences, universal perturbations, transfer between models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import ATTACKS
from meddef.attacks.options import check_options, shortfall
from meddef.attacks.universal import perturbed, universal
from meddef.cost_model import FORWARD, passes
from meddef.data.splits import Splits
from meddef.defenses import ABSTAIN, ATTACKERS, Smoothed, build_defense, made_on
from meddef.defenses.registry import check_defense, is_fitted, settings_of
from meddef.errors import InputError
from meddef.evaluation.cell import Cell, Extent, attack_settings
from meddef.evaluation.cells import batches, bound_attack, head, load_trained, run_attack, test_order
from meddef.evaluation.judge import Attack
from meddef.records import CLASS_CHARACTERS, Record
from meddef.results_version import versions
from meddef.settings import AttackSettings, OfModels, Profile, training_name

KINDS = ("defense", "universal", "transfer")
NO_CERTIFICATE = "-"  # in place of a class, where the smoothed classifier abstains
CONTROL = "random signs"  # a random perturbation of the same size


def check_rivals(profile: Profile) -> None:
    """Refuse unknown names in the settings of these cells, or attacks that cannot reach their ε.

    Raises:
        InputError: one line.
    """
    where = f"profile '{profile.name}'"
    sections: dict[str, AttackSettings | None] = {"defenses": profile.defenses, "transfer": profile.transfer}
    for name, section in sections.items():
        for attack, given in section.attacks.items() if section else ():
            if attack not in ATTACKS:
                raise InputError(f"{where}: unknown attack '{attack}', use {', '.join(ATTACKS)}")
            check_options(attack, given)
            for eps in section.eps if section and not section.allow_short_reach else ():
                if short := shortfall(attack, given, eps):
                    raise InputError(f"{where}, {name}: {attack} cannot reach its ε: {short}")
    for label, choice in profile.defenses.choices.items() if profile.defenses else ():
        check_defense(choice.defense, choice.settings)
        if choice.certify and choice.defense != "smoothing":
            raise InputError(f"{where}, defenses.{label}: only smoothing is certified, leave certify out")


def rival_cells(
    profile: Profile, trains: Sequence[Cell], extent: Extent, shared: Mapping[str, Any]
) -> Iterator[Cell]:
    """The cells of one dataset, whose trained models are ``trains``."""
    for train in trains:
        if profile.defenses and _covers(profile.defenses, train):
            yield from _defense_cells(profile, train, extent, shared)
        if profile.universal and _covers(rule := profile.universal, train, rule.trainings):
            given = {"method": rule.method, "epochs": rule.epochs, "fit_images": rule.fit_images}
            fit = rule.epochs * min(rule.fit_images, extent.train) * (1 + FORWARD)
            for eps in rule.eps:
                of_attack = {
                    "attack": "universal",
                    "eps": eps,
                    "attack_settings": given,
                    "versions": _versions(),
                }
                yield _cell(
                    "universal", profile, train, extent, rule, {**shared, **of_attack}, 4 * FORWARD, fit
                )
    if profile.transfer:
        yield from _transfer_cells(profile, trains, extent, shared)


def _defense_cells(
    profile: Profile, train: Cell, extent: Extent, shared: Mapping[str, Any]
) -> Iterator[Cell]:
    assert profile.defenses is not None
    rule = profile.defenses
    for label, choice in rule.choices.items():
        if not _covers(rule, train, choice.trainings):
            continue
        chosen = settings_of(choice.defense) | choice.settings
        if "seed" in chosen and "seed" not in choice.settings:
            chosen["seed"] = train.settings["seed"]
        defense = {"defense": label, "choice": choice.defense, "defense_settings": chosen}
        fitted = {"fit_images": rule.fit_images} if is_fitted(choice.defense) else {}
        attacks = [
            (attacker, attack, given, eps, rule)
            for attack, given in rule.attacks.items()
            for eps in rule.eps
            for attacker in ATTACKERS
        ]
        if certify := choice.certify:
            some = rule.model_copy(update={"images": certify.images})
            l2 = {"norm": "l2", "steps": certify.steps}
            attacks += [("adaptive", "pgd", l2, radius, some) for radius in certify.radii]
            certificate = {
                "attacker": "certificate",
                "attack": "clean",
                "eps": None,
                "attack_settings": certify.model_dump(include={"chosen_from", "samples", "alpha"}),
                "versions": _versions("defenses"),
            }
            work = FORWARD * (certify.chosen_from + certify.samples)
            yield _cell("defense", profile, train, extent, some, {**shared, **defense, **certificate}, work)
        for attacker, attack, given, eps, images in attacks:
            settings = {**shared, **defense, **fitted, "attacker": attacker, "attack": attack, "eps": eps}
            settings |= attack_settings(attack, given, eps) | {"versions": _versions("defenses")}
            draws = chosen.get("draws", 1) if attacker == "adaptive" else 1
            votes = 2 * FORWARD * chosen.get("samples", 0)
            work = draws * passes(attack, given, profile.features(train.dataset)) + votes
            yield _cell("defense", profile, train, extent, images, settings, work)


def _transfer_cells(
    profile: Profile, trains: Sequence[Cell], extent: Extent, shared: Mapping[str, Any]
) -> Iterator[Cell]:
    """One cell per source, attack and ε, evaluated on every target; sources and targets share a seed."""
    assert profile.transfer is not None
    rule = profile.transfer
    there = [train for train in trains if _covers(rule, train, rule.trainings)]
    for source in there:
        targets = [train.key for train in there if train.settings["seed"] == source.settings["seed"]]
        for attack, given in rule.attacks.items():
            for eps in rule.eps:
                settings = {**shared, "targets": targets, "attack": attack, "eps": eps}
                settings |= attack_settings(attack, given, eps)
                work = passes(attack, given, profile.features(source.dataset)) + 2 * FORWARD * len(targets)
                yield _cell("transfer", profile, source, extent, rule, settings, work)


def _covers(rule: OfModels, train: Cell, trainings: Sequence[str] | None = None) -> bool:
    name = training_name(train.settings["training"])
    of_training = trainings is None or name in trainings
    return of_training and rule.covers(train.settings["variant"], train.settings["seed"])


def _versions(*more: str) -> dict[str, int]:
    return versions("models", "evaluation", "attacks", *more)


def _cell(
    kind: str, profile: Profile, train: Cell, extent: Extent, rule: OfModels, settings: Mapping[str, Any],
    work: float, once: float = 0.0,
) -> Cell:  # fmt: skip
    """``work`` is per image, ``once`` is added to the total."""
    images = min(rule.images or extent.test, extent.test)
    common = {
        "grid": kind,
        **{name: train.settings[name] for name in ("variant", "seed")},
        "prune_rate": 0.0,
        "prune_scope": "global",
        "images": images,
        "batch_size": profile.batch_size,
        "channels_last": profile.training.channels_last,
    }
    return Cell(kind, train.dataset, {**common, **settings}, needs=train.key, work=images * work + once)


def run_rival(
    cell: Cell,
    train: Cell,
    others: Sequence[Cell],
    splits: Splits,
    model: nn.Module,
    run_folder: Path,
    *,
    progress: bool,
) -> list[Record]:
    """Run a cell of ``rival_cells``; ``train`` made ``model``, ``others`` the targets of a transfer."""
    run = partial(run_attack, splits=splits, run_folder=run_folder, progress=progress)
    if cell.kind == "defense":
        return _run_defense(cell, train, splits, model, run)
    if cell.kind == "universal":
        return _run_universal(cell, train, splits, model, run)
    return _run_transfer(cell, train, others, splits, model, run_folder, run)


def _run_defense(cell: Cell, train: Cell, splits: Splits, model: nn.Module, run: Any) -> list[Record]:
    """The defended model under one attacker, or its certificates."""
    settings = cell.settings
    training = _fit_images(cell, splits) if "fit_images" in settings else None
    defended = build_defense(settings["choice"], model, settings["defense_settings"], training=training)
    named = {name: settings[name] for name in ("defense", "choice", "attacker", "defense_settings")}
    if settings["attacker"] != "certificate":
        bound = bound_attack(settings)
        assert bound is not None
        attack = made_on(defended.seen_by(settings["attacker"]), bound)
        (record,) = run(cell, train, model=defended, attack=attack)
        return [{**record, "kind": "defense", **named}]
    assert isinstance(defended, Smoothed)
    labels, answers, radii = "", "", []
    for images, truth in batches(splits.test, settings["images"], settings["batch_size"], settings["device"]):
        found = defended.certify(images, **settings["attack_settings"])
        labels += "".join(CLASS_CHARACTERS[label] for label in truth.tolist())
        answers += "".join(
            NO_CERTIFICATE if c == ABSTAIN else CLASS_CHARACTERS[c] for c in found.classes.tolist()
        )
        radii += [round(radius, 6) for radius in found.radius.tolist()]
    record = {
        **head(cell, "defense"),
        **{name: settings[name] for name in ("variant", "seed", "attack", "eps")},
        **named,
        "training": training_name(train.settings["training"]),
        "settings": settings["attack_settings"],
        "n": len(labels),
        "labels": labels,
        "certified": answers,
        "radius": radii,
        "data_fingerprint": splits.fingerprint,
    }
    return [record]


def _run_universal(cell: Cell, train: Cell, splits: Splits, model: nn.Module, run: Any) -> list[Record]:
    """The universal perturbation on test images, and one of random signs for comparison."""
    settings, given = cell.settings, dict(cell.settings["attack_settings"])
    eps, seed = settings["eps"], settings["seed"]
    images = _fit_images(cell, splits, given.pop("fit_images"))[0]
    signs = torch.rand(images[:1].shape, generator=torch.Generator().manual_seed(seed)).to(images)
    deltas = {
        given["method"]: universal(
            model, images, eps=eps, seed=seed, batch_size=settings["batch_size"], **given
        ),
        CONTROL: eps * (signs - 0.5).sign(),
    }
    found = []
    for method, delta in deltas.items():
        mine = replace(
            cell, settings={**settings, "method": method}
        )  # so that a killed run resumes with its own
        (record,) = run(mine, train, model=model, attack=partial(_shifted, delta=delta, eps=eps))
        fooled = sum(b != a for b, a in zip(record["before"], record["after"], strict=True))
        found.append({**record, "kind": "universal", "method": method, "fooled": fooled})
    return found


def _run_transfer(
    cell: Cell,
    train: Cell,
    others: Sequence[Cell],
    splits: Splits,
    model: nn.Module,
    run_folder: Path,
    run: Any,
) -> list[Record]:
    """Attacked images of one source before each target, one record per target."""
    bound = bound_attack(cell.settings)
    assert bound is not None
    attack, found = _Once(made_on(model, bound)), []
    source = {
        "source": train.settings["variant"],
        "source_training": training_name(train.settings["training"]),
    }
    for target in (train, *others):
        (judged,) = load_trained(target, splits, run_folder, [0.0], "global")
        mine = replace(
            cell, settings={**cell.settings, "variant": target.settings["variant"], "target": target.key}
        )
        (record,) = run(mine, target, model=judged, attack=attack)
        found.append({**record, "kind": "transfer", **source})
    return found


def _fit_images(cell: Cell, splits: Splits, count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first training images of a seeded order, and their labels, on the cell's device."""
    chosen = test_order(splits.train, count or cell.settings["fit_images"])
    images, labels = splits.train.batch(chosen)
    return images.to(cell.settings["device"]), labels.to(cell.settings["device"])


def _shifted(model: nn.Module, images: Tensor, labels: Tensor, *, delta: Tensor, eps: float) -> Tensor:
    return perturbed(images, delta, eps)


class _Once:
    """An attack independent of the evaluated model, computed once per batch."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.found: dict[bytes, Tensor] = {}

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        batch = images.cpu().contiguous().numpy().tobytes()
        if batch not in self.found:
            self.found[batch] = self.attack(model, images, labels)
        return self.found[batch]
