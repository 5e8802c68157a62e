"""The cost of a cell, and the attacks of a grid. No result or key depends on the cost.

The unit is a *pass*: one image forward and backward through the full model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meddef import catalogue
from meddef.catalogue import FORWARD, WITHOUT_EPS
from meddef.settings import CurveSettings, GridSettings, SaliencySettings, TrainingSettings

UPDATE = 1.8  # a training step on an image: gradients of the weights too, and the optimizer
SURROGATE = 0.75  # a pass of the cheaper copy that training attacks (meddef.attacks.surrogate)


def grid_runs(grid: GridSettings) -> Iterator[tuple[float, str, float | None]]:
    """(prune rate, attack, eps) of every cell of a grid on one model; eps is None for an attack that has none."""
    for rate in grid.rates:
        yield rate, "clean", 0.0
        for attack in grid.attacks:
            budgets: list[float | None] = [None] if attack in WITHOUT_EPS else [*grid.eps]
            for eps in budgets:
                yield rate, attack, eps


def passes(attack: str, settings: Mapping[str, Any], features: int) -> float:
    """Passes for one image of ``features`` pixels times channels, if it resists to the end.

    ``settings`` are those given; the others have their defaults. An attacked image is evaluated before and after.
    """
    if attack == "clean":
        return FORWARD
    return catalogue.passes(attack, settings, features) + 2 * FORWARD


def train_passes(settings: TrainingSettings, n_train: int, n_val: int) -> float:
    """Passes of all epochs on ``n_train`` images, each of which is followed by validation on ``n_val``."""
    rule = settings.adversarial
    an_epoch = UPDATE * n_train + FORWARD * n_val
    if rule is not None:
        search = SURROGATE * rule.steps
        match rule.method:
            case "meddef":
                an_epoch += rule.train_share * n_train * (search + UPDATE)
            case "madry":  # learns from the attacked images alone
                an_epoch += n_train * search
            case "fast":
                an_epoch += n_train * SURROGATE
            case "trades":
                an_epoch += n_train * (search + FORWARD + UPDATE)
        an_epoch += rule.validation_share * n_val * SURROGATE * rule.steps
    return settings.epochs * an_epoch


def curve_passes(settings: CurveSettings) -> float:
    """Passes of the test evaluations of a long training, including the best epoch's."""
    looks = settings.epochs // settings.every + 1
    return looks * settings.images * passes("pgd", {"steps": settings.steps}, 0)


def saliency_passes(images: int, settings: SaliencySettings) -> float:
    """Passes of three maps of each of ``images`` (as it is, attacked, for the mean), the attack, and four curves of
    deletion and insertion, with a prediction at both ends and before and after the attack."""
    maps, curves = 3 * UPDATE, 4 * (settings.removal_steps + 1)
    return images * (maps + settings.pgd.steps + (curves + 4) * FORWARD)


def probe_passes(name: str, rule: Any, features: int) -> float:
    """Passes of one image in the probe ``name`` with its settings ``rule``; ``features`` as in ``passes``."""
    match name:
        case "components" | "calibration":  # the attack, and an evaluation before and after it
            return float(rule.steps + 2 * FORWARD)
        case "bands":
            return float(len(rule.factors) * (rule.steps + FORWARD) + FORWARD)
        case "regions":  # inside, outside, everywhere
            return float(3 * (rule.steps + FORWARD) + FORWARD)
        case "visibility":
            attacks = rule.attacks.items()
            return sum(passes(attack, {"steps": rule.steps} | given, features) for attack, given in attacks)
        case "shortcuts":  # as it is, without border, lesion or letter, the letter moved
            return 5 * FORWARD
    return 0.0
