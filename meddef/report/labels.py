"""Labels and order of models, trainings and attacks."""

from __future__ import annotations

from collections.abc import Iterable

from meddef import catalogue
from meddef.catalogue import usual_training

LABELS = {name: row.label for name, row in catalogue.VARIANTS.items()}
VARIANTS = tuple(LABELS)
METHOD_NAMES = {"madry": "PGD-AT", "fast": "Fast-AT", "trades": "TRADES"}  # the rivals of the paper's recipe
ATTACK_NAMES = {"clean": "no attack"} | {name: row.label for name, row in catalogue.ATTACKS.items()}
ATTACKS = tuple(ATTACK_NAMES)


def is_control(variant: str, training: str) -> bool:
    """Whether a model is a control (trained otherwise than in the paper), without published values."""
    return training != usual_training(variant)


def model_label(variant: str, training: str) -> str:
    """The paper's name of a model; the training is added where it is not the usual one."""
    label = LABELS.get(variant, variant)
    return f"{label}, {training_label(training)}" if is_control(variant, training) else label


def training_label(training: str) -> str:
    """ "clean training", "adversarial training" (the paper's recipe), "TRADES beta=1", "training with noise, σ =
    .25"."""
    method, _, others = training.partition(" ")
    if method.startswith("noise_"):
        return f"training with noise, σ = .{method.removeprefix('noise_')}"
    if method in METHOD_NAMES:
        return f"{METHOD_NAMES[method]} {others}".strip()
    return f"{training} training"


def short_label(variant: str, training: str) -> str:
    """``model_label`` for narrow places."""
    return model_label(variant, training).replace("MedDef ", "").replace("(Full DAAM)", "Full DAAM")


def attack_name(attack: str) -> str:
    """As the paper writes it."""
    return ATTACK_NAMES.get(attack, attack)


def ordered_attacks(attacks: Iterable[str]) -> list[str]:
    """Each attack once, in the paper's order, then the ensemble, others behind."""
    return sorted(set(attacks), key=lambda attack: (attack_rank(attack), attack))


def attack_rank(attack: str) -> int:
    """Its place in that order; one without a row in the catalogue is behind all others."""
    return rank(attack, ATTACKS)


def rank(value: str | None, order: tuple[str, ...]) -> int:
    """The place of ``value`` in ``order``; behind all where it is not in it."""
    return order.index(value) if value in order else len(order)
