"""Additions to a table of robust accuracy: balanced accuracy in each cell, and the row of the constant classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from meddef.report.balanced import NOTE
from meddef.report.display import DASH
from meddef.report.labels import attack_name, ordered_attacks

MODEL = "constant classifier"


def with_balanced(measured: str, row: Mapping[Any, Any]) -> str:
    """The text of a cell, accuracy and its interval, with balanced accuracy below: "balanced 34.0"."""
    return f"{measured}\nbalanced {row['balanced']:.1f}"


def constant_cells(cells: Iterable[Mapping[Any, Any]], attacks: list[str], n: str) -> dict[str, str]:
    """Attack's name -> accuracy of the constant classifier on the images that the attack saw, balanced accuracy below.

    ``cells`` are rows of ``Report.attacks`` of one dataset; ``n`` is what the row's own column says, and other numbers
    of images are named. Where models saw unequally many images, the range stands.
    """
    by_attack: dict[str, list[Mapping[Any, Any]]] = {}
    for cell in cells:
        by_attack.setdefault(cell["attack"], []).append(cell)
    row = {}
    for attack in attacks:
        ours = by_attack.get(attack)
        if ours is None:
            row[attack_name(attack)] = DASH
            continue
        sizes = sorted({cell["n"] for cell in ours}, key=lambda text: int(text.split(" ")[0]))
        other = "" if sizes == [n] else f"\nn = {' and '.join(sizes)}"
        accuracy, balanced = (
            _range([cell[name] for cell in ours]) for name in ("constant", "constant_balanced")
        )
        row[attack_name(attack)] = f"{accuracy}\nbalanced {balanced}{other}"
    return row


def constant_name(cells: Iterable[Mapping[Any, Any]]) -> str:
    """ "constant classifier" and, below it, the class (several where the largest class differs)."""
    return f"{MODEL}\n{' or '.join(dict.fromkeys(cell['largest'] for cell in cells))}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def balanced_note(cells: pd.DataFrame) -> str:
    """The caption's note on both; names the classes without attacked images."""
    missing: dict[str, dict[str, str]] = {}
    for row in cells[cells["absent"] != ""].to_dict("records"):
        missing.setdefault(row["absent"], {})[row["attack"]] = row["n"]
    told = ""
    for absent, sizes in missing.items():
        where = ", ".join(f"{attack_name(attack)}, n = {sizes[attack]}" for attack in ordered_attacks(sizes))
        told += f" No image shows {absent} ({where}): balanced accuracy is over the other classes."
    return f" {NOTE}{told}"
