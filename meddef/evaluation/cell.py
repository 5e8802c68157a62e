"""A cell: one unit of work under a key of everything that can change its outcome; and its planning inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from meddef.attacks import ATTACKS
from meddef.attacks.options import with_step_size
from meddef.results_version import versions
from meddef.settings import TRAININGS, training_name


@dataclass(frozen=True)
class Cell:
    """One independent unit of work.

    ``settings`` hold everything that changes the outcome; ``needs`` is the key of the cell whose model it uses;
    ``work`` is its cost in forward-and-backward passes of one image, for time estimates, and not part of the key.
    """

    kind: str  # "data", "train", "attack", "saliency", "curve", "probe", or of meddef.evaluation.rivals
    dataset: str
    settings: Mapping[str, Any]
    needs: str | None = None
    work: float = field(default=0.0, compare=False)

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits; equal cells have equal keys on every machine."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def content(self) -> dict[str, Any]:
        """The content of the key: everything but the cost."""
        return {"kind": self.kind, "dataset": self.dataset, "settings": self.settings, "needs": self.needs}

    @property
    def requires(self) -> tuple[str, ...]:
        """Keys of the trainings whose models it uses, the one that it needs first."""
        keys = [self.needs] if self.needs else []
        return tuple(dict.fromkeys([*keys, *self.settings.get("targets", ())]))

    @property
    def section(self) -> str:
        """The selector of ``SECTIONS``: see ``part_of``."""
        return part_of(self.kind, self.settings)

    @property
    def precision(self) -> str:
        """Arithmetic of its passes: "float32" or "bf16"."""
        given = self.settings.get("training" if self.kind in ("train", "curve") else "attack_settings", {})
        return str(given.get("precision", "float32"))

    @property
    def label(self) -> str:
        """Short name for progress and logs."""
        parts = [self.dataset] + [
            str(self.settings[k])
            for k in ("probe", "variant", "defense", "attacker", "attack", "eps", "prune_rate")
            if k in self.settings
        ]
        if self.kind == "train" and (name := training_name(self.settings["training"])) not in TRAININGS:
            parts.append(name)
        return " ".join([self.kind, *parts])


def part_of(kind: str, settings: Mapping[str, Any]) -> str:
    """The grid for attacks, "probe bands" for probes, else the kind."""
    if kind == "probe":
        return f"probe {settings['probe']}"
    return str(settings["grid"]) if kind == "attack" else kind


@dataclass(frozen=True)
class Extent:
    """A dataset as a plan needs it: images per split and the fingerprint of its pixels."""

    train: int
    val: int
    test: int
    fingerprint: str


def attack_settings(attack: str, given: Mapping[str, Any], eps: float | None) -> dict[str, Any]:
    """All settings of an attack but eps, and the versions behind its results."""
    if attack == "clean":
        return {"attack_settings": {}, "versions": versions("models", "evaluation")}
    fixed = {k: v for k, v in ATTACKS[attack].keywords.items() if k not in ("eps", "step_size")}
    settings = with_step_size(attack, fixed | dict(given), eps)
    return {"attack_settings": settings, "versions": versions("models", "evaluation", "attacks")}
