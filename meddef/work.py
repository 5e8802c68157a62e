"""How much work a cell is, and which attacks a grid holds. No result and no key depends on the amount. No torch here.

The unit is a *pass*: one image forward and backward through the full model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meddef.settings import CurveSettings, GridSettings, SaliencySettings, TrainingSettings

FORWARD = 0.4  # a forward pass alone, as a share of a pass with its gradient
UPDATE = 1.8  # a training step on an image: gradients of the weights too, and the optimizer
SURROGATE = 0.75  # a pass of the cheaper copy that training attacks (meddef.attacks.surrogate)
WITHOUT_EPS = ("jsma",)
DEFAULTS: dict[str, dict[str, Any]] = {  # those of ``ATTACKS`` that decide the work
    "bim": {"steps": 40},
    "pgd": {"steps": 40},
    "jsma": {"gamma": 0.14, "features": 2, "max_steps": None, "pairs_per_step": 1},
    "apgd": {"steps": 100},
    "fab": {"steps": 100},
    "square": {"queries": 5000},
    "ensemble": {"steps": 100, "queries": 1000},
}


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

    ``settings`` are those given; the others have their defaults. An attacked image is judged before and after.
    """
    if attack == "clean":
        return FORWARD
    return _searching(attack, DEFAULTS.get(attack, {}) | dict(settings), features) + 2 * FORWARD


def _searching(attack: str, settings: Mapping[str, Any], features: int) -> float:
    steps, restarts = settings.get("steps", 1), settings.get("restarts", 1)
    queries = FORWARD * settings.get("queries", 0)
    match attack:
        case "noise":
            return 0
        case "square":
            return queries
        case "fab":  # beside each gradient a forward pass, and a sort of all features for each projection
            return 2 * steps * restarts
        case "ensemble":  # ten quick steps of PGD, APGD, FAB with a fifth of its steps, Square
            return 10 + steps + 2 * steps / 5 + queries
        case "jsma":  # two backward passes a move
            most = settings["gamma"] * features // settings["features"]
            moves = most if settings["max_steps"] is None else settings["max_steps"]
            return moves / settings["pairs_per_step"] * (2 - FORWARD)
    return steps * restarts


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
    """Passes of the looks of a long training at its test images, the best epoch's among them."""
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
        case "components" | "calibration":  # the attack, and a look before and after it
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
