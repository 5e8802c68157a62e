"""The training methods, registered once: the values of ``AdversarialSettings.method``."""

from __future__ import annotations

from meddef.settings import Method, TrainingSettings
from meddef.training.fast import Fast
from meddef.training.madry import Madry
from meddef.training.objective import Objective
from meddef.training.recipe import Recipe
from meddef.training.trades import Trades

METHODS: dict[Method, type[Objective]] = {
    "meddef": Recipe,
    "madry": Madry,
    "fast": Fast,
    "trades": Trades,
}


def objective(settings: TrainingSettings, number: int, ease: float) -> Objective:
    """The objective of epoch ``number`` (from 0); ``ease`` as in ``EpsilonSchedule``."""
    rule = settings.adversarial
    return (METHODS[rule.method] if rule else Objective)(settings, number, ease)
