"""Attack settings from a profile or the command line, checked against the attack's signature."""

from collections.abc import Mapping
from inspect import signature
from types import NoneType
from typing import Any, get_args, get_type_hints

from meddef.attacks import reach
from meddef.attacks.registry import ATTACKS
from meddef.errors import InputError

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", NoneType: "none"}
ELSEWHERE = {
    "eps": "eps is given apart from the settings",
    "targeted": "labels here are the true classes",
    "seed": "it is the model's",
}


def options(attack: str) -> dict[str, Any]:
    """Name -> default of each setting of ``ATTACKS[attack]`` that is a plain value; eps is not among them."""
    names = _kinds(attack)
    return {name: p.default for name, p in signature(ATTACKS[attack]).parameters.items() if name in names}


def norm_of(attack: str, given: Mapping[str, Any]) -> str:
    """The norm in which eps of ``ATTACKS[attack]`` is measured with the settings ``given``."""
    return str(given.get("norm", options(attack).get("norm", "linf")))


def check_options(attack: str, given: Mapping[str, Any]) -> None:
    """Refuse a setting that the attack does not take, or of the wrong type; the attack checks its range.

    Raises:
        InputError: one line that names the setting and what would fit.
    """
    kinds = _kinds(attack)
    for name, value in given.items():
        if name not in kinds:
            reason = ELSEWHERE.get(name) or f"it takes {', '.join(kinds) or 'none'}"
            raise InputError(f"attack '{attack}' takes no setting '{name}': {reason}")
        fits = type(value) in kinds[name] or (type(value) is int and float in kinds[name])
        if not fits:
            wanted = " or ".join(KINDS[kind] for kind in kinds[name])
            raise InputError(f"setting '{name}' of attack '{attack}' must be {wanted}, got {value!r}")


def with_step_size(attack: str, given: Mapping[str, Any], eps: float | None) -> dict[str, Any]:
    """``given``, with the step size that ``meddef.attacks.reach.step_size`` sets where the attack takes one.

    A step size that is given, and is not None, stays; without ``eps`` there is nothing to reach.
    """
    settings = dict(given)
    if eps is not None and "step_size" in _kinds(attack) and settings.get("step_size") is None:
        steps = settings.get("steps", options(attack)["steps"])
        settings["step_size"] = reach.step_size(eps, max(steps, 1))  # no step at all is refused later
    return settings


def shortfall(attack: str, given: Mapping[str, Any], eps: float | None) -> str:
    """The shortfall from ``eps``, in words; empty where the attack reaches it or has no step size."""
    if eps is None or "step_size" not in _kinds(attack):
        return ""
    settings = options(attack) | with_step_size(attack, given, eps)
    start = bool(settings.get("random_start", False))
    return reach.shortfall(eps, settings["step_size"], settings["steps"], random_start=start)


def _kinds(attack: str) -> dict[str, list[type]]:
    """Name -> accepted plain types."""
    hints = get_type_hints(ATTACKS[attack].func)
    found = {
        name: [kind for kind in KINDS if kind in (get_args(hint) or (hint,))] for name, hint in hints.items()
    }
    plain = {name: kinds for name, kinds in found.items() if set(kinds) - {NoneType}}
    return {name: kinds for name, kinds in plain.items() if name not in ELSEWHERE}
