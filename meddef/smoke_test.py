"""A profile reduced to two steps of each kind of cell, on phantoms: a smoke test on this machine before a long run."""

from __future__ import annotations

from typing import Any, TypeVar

from meddef.attacks.options import options
from meddef.data import CARDS
from meddef.settings import (
    AdversarialSettings,
    AttackSettings,
    DatasetSettings,
    DefenseSettings,
    GridSettings,
    Profile,
    SaliencySettings,
    TrainingSettings,
)

SIZES = {"train": 8, "val": 4, "test": 4}  # images
FEW = 2  # images attacked, steps, queries, moves
COUNTS = ("steps", "queries", "max_steps")
Attacks = TypeVar("Attacks", bound=AttackSettings)


def trial(profile: Profile) -> Profile:
    """All models of ``profile`` at its image size, on one seed, on phantoms instead of its data.

    One epoch, two steps of every attack on two images at the first epsilon; a grid of pruning rates keeps its first and
    last. Its name ends in ``-trial``, so that its records have a separate folder.
    """
    clean = profile.clean_training
    return profile.model_copy(
        update={
            "name": f"{profile.name}-trial",
            "description": f"two steps of every kind of cell of {profile.name}, on phantoms: the numbers are "
            "meaningless",
            "datasets": _phantoms(profile),
            "seeds": profile.seeds[:1],
            "batch_size": FEW,
            "training": _training(profile.training),
            "clean_training": _training(clean) if clean else None,
            "rivals": {v: [_rule(rule) for rule in rules] for v, rules in profile.rivals.items()},
            "grids": {name: _grid(grid) for name, grid in profile.grids.items()},
            "saliency": profile.saliency and _saliency(profile.saliency),
            "curve": profile.curve
            and profile.curve.model_copy(
                update={"seeds": profile.seeds[:1], "epochs": 1, "images": FEW, "steps": FEW}
            ),
            "transfer": profile.transfer and _attacks(profile.transfer),
            "universal": profile.universal
            and profile.universal.model_copy(
                update={"images": FEW, "eps": profile.universal.eps[:1], "fit_images": FEW, "epochs": 1}
            ),
            "defenses": profile.defenses and _defenses(profile.defenses),
            "probes": profile.probes.model_copy(update=_probes(profile)),
        }
    )


def _phantoms(profile: Profile) -> list[DatasetSettings]:
    """The phantoms that replace the same data as the profile's datasets; X-rays where none does."""
    kinds = {card.stands_for: name for name, card in CARDS.items() if card.kind == "phantom"}
    wanted = [CARDS[dataset.name].stands_for or dataset.name for dataset in profile.datasets]
    names = dict.fromkeys(kinds.get(name, "phantom_xray") for name in wanted)
    return [DatasetSettings(name=name, split_policy="released", sizes=SIZES) for name in names]


def _training(settings: TrainingSettings) -> TrainingSettings:
    rule = settings.adversarial and _rule(settings.adversarial)
    return settings.model_copy(
        update={"epochs": 1, "batch_size": 2 * FEW, "pretrained": False, "adversarial": rule}
    )


def _rule(rule: AdversarialSettings) -> AdversarialSettings:
    return rule.model_copy(update={"steps": FEW})


def _grid(grid: GridSettings) -> GridSettings:
    rates = sorted({grid.rates[0], grid.rates[-1]})
    return _attacks(grid).model_copy(update={"rates": rates})


def _attacks(settings: Attacks) -> Attacks:
    attacks = {name: given | _few(name) for name, given in settings.attacks.items()}
    few = {"images": FEW, "eps": settings.eps[:1], "seeds": None, "allow_short_reach": True}
    return settings.model_copy(update={**few, "attacks": attacks})


def _saliency(settings: SaliencySettings) -> SaliencySettings:
    attack = settings.pgd.model_copy(update={"steps": FEW})
    few = {"images": FEW, "removal_steps": FEW, "pgd": attack, "allow_short_reach": True}
    return settings.model_copy(update=few)


def _defenses(settings: DefenseSettings) -> DefenseSettings:
    few = {"images": FEW, "chosen_from": FEW, "samples": FEW, "steps": FEW}
    choices = {
        name: choice.model_copy(
            update={
                "settings": {k: FEW if k in ("samples", "draws") else v for k, v in choice.settings.items()},
                "certify": choice.certify and choice.certify.model_copy(update=few),
            }
        )
        for name, choice in settings.choices.items()
    }
    return _attacks(settings).model_copy(update={"choices": choices, "fit_images": 2 * FEW})


def _probes(profile: Profile) -> dict[str, Any]:
    """Name -> settings of each probe that is chosen, cut; JSMA of the visible ones takes two moves."""
    few = {"images": FEW, "steps": FEW, "seeds": None}
    cut = {}
    for name, rule in profile.probes.chosen().items():
        update: dict[str, Any] = {key: value for key, value in few.items() if key in type(rule).model_fields}
        if hasattr(rule, "attacks"):
            update["attacks"] = {attack: given | _few(attack) for attack, given in rule.attacks.items()}
        cut[name] = rule.model_copy(update=update)
    return cut


def _few(attack: str) -> dict[str, Any]:
    return {name: FEW for name in COUNTS if name in options(attack)}
