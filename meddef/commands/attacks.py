"""``meddef attacks`` (what there is to attack with), and how a command line says which attack and how strong."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from meddef.errors import InputError

WORDS = {"true": True, "false": False, "none": None}


def attacks() -> None:
    """List the attacks with their settings (for --set, with defaults: the paper's, if it has one) and sources."""
    from meddef.attacks import ATTACKS
    from meddef.attacks.options import options
    from meddef.attacks.registry import SOURCES

    table = Table(caption="meddef evaluate --attack NAME --eps 8/255 --set steps=100", show_lines=True)
    for column in ("attack", "settings and defaults", "source"):
        table.add_column(column, overflow="fold")
    for name, attack in ATTACKS.items():
        eps = [f"eps={attack.keywords['eps']} (--eps)"] if "eps" in attack.keywords else []
        known = [*eps, *(f"{key}={value}" for key, value in options(name).items())]
        table.add_row(name, "\n".join(known), SOURCES[name].replace(", https", "\nhttps"))
    Console().print(table)


def parse_eps(text: str, option: str = "--eps", *, bounded: bool = True) -> float:
    """A perturbation budget written as a number or a fraction: "0.05", "8/255"; ``bounded``: at most 1, as L-inf is."""
    try:
        value = float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} '{text}' is not a number: write 0.03 or 8/255") from error
    if value < 0 or (bounded and value > 1):
        other = ", or for a length in L2 --attack pgd --set norm=l2" if option == "--eps" else ""
        raise InputError(
            f"{option} {text} is out of range: images lie in [0, 1], so use 0 <= eps <= 1 (8/255, not 8){other}"
        )
    return value


def parse_grid(text: str | None, *, bounded: bool) -> list[float]:
    """One budget or several, ascending: "8/255", "1/255,2/255,4/255"; none where nothing is given.

    Raises:
        InputError: one is out of range, or given twice; several and one of them is 0.
    """
    grid = sorted(parse_eps(part, bounded=bounded) for part in text.split(",")) if text else []
    if len(set(grid)) < len(grid) or (len(grid) > 1 and not grid[0]):
        raise InputError(f"--eps {text}: several must be above 0 and differ")
    return grid


def parse_settings(given: list[str]) -> dict[str, Any]:
    """["steps=100", "step_size=2/255", "fast=true"] as names and values; a name given twice is refused."""
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise InputError(f"--set '{text}' is not of the form name=value, such as steps=100")
        if name in found:
            raise InputError(f"--set {name} is given twice")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for read in (int, lambda number: float(Fraction(number))):
        try:
            return read(text)
        except (ValueError, ZeroDivisionError):
            pass
    return text
