"""How much work an attack is, for the estimate of time; no result and no key depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORWARD = 0.4  # a forward pass alone, as a share of a pass with its gradient


def passes(attack: str, settings: Mapping[str, Any], features: int) -> float:
    """Forward-and-backward passes of one image of ``features`` pixels times channels, if it resists to the end.

    ``settings`` are all of the attack's, defaults included.
    """
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
