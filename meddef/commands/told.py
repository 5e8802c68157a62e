"""The words that evaluations share: what was attacked and how, intervals, the warning of a constant classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meddef.report.display import budget
from meddef.statistics import Proportion


@dataclass(frozen=True)
class Told:
    """An attack's name, (largest) ε and settings, model and data, split, what a file says of it, and the last lines.

    ``source`` is the model on which examples were made where that is not the one that is judged.
    """

    attack: str
    eps: float | None
    used: Mapping[str, Any]
    subject: str
    split: str
    about: Mapping[str, Any]
    notes: Sequence[str]
    source: str | None = None

    @property
    def title(self) -> str:
        targets = self.about.get("targets")
        shown = dict(self.used) | ({} if targets is None else {"targets": targets})
        told = ", ".join(f"{k}={_shown(v)}" for k, v in shown.items())
        return (f"{self.attack} ({told})" if told else self.attack) + self._made

    @property
    def strength(self) -> str:
        """The attack and its ε."""
        size = (
            ""
            if self.eps is None
            else f" at ε = {in_levels(self.eps) if self.linf else f'{self.eps:g} in L2'}"
        )
        return f"{self.attack}{size}{self._made}"

    @property
    def linf(self) -> bool:
        """Whether ε bounds each pixel, and not the length of the perturbation."""
        return bool(self.used.get("norm", "linf") == "linf")

    @property
    def _made(self) -> str:
        return f", made on {self.source}" if self.source else ""

    def on(self, n: int) -> str:
        """What was attacked."""
        return f"{self.subject}, {n} {self.split} images"


def _shown(value: Any) -> str:
    if isinstance(value, list):  # one per ε
        return f"{_shown(value[0])} to {_shown(value[-1])}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def constant_classifier(
    labels: np.ndarray, before: np.ndarray, classes: Sequence[str] | None = None
) -> list[str]:
    """A warning where one class is predicted for images of several: nothing is left to attack."""
    if len(set(before.tolist())) > 1 or len(set(labels.tolist())) < 2:
        return []
    name = classes[before[0]] if classes else f"class {before[0]}"
    return [
        f"every clean image is predicted as {name}: a constant classifier resists any attack, and its rates say "
        "nothing of robustness"
    ]


def in_levels(eps: float) -> str:
    """ε in grey levels, or as the number that it is where it is the length of a perturbation."""
    return budget(eps) if eps < 1 else f"{eps:g}"


def interval(rate: Proportion, digits: int = 2) -> str:
    low, high = rate.interval
    return f"{low:.{digits}%} to {high:.{digits}%}"


def brackets(rate: Proportion) -> str:
    low, high = rate.interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def counted(rate: Proportion) -> dict[str, Any]:
    low, high = rate.interval
    return {"hits": rate.hits, "of": rate.n, "rate": rate.value, "low": low, "high": high}
