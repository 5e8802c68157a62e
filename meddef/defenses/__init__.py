"""Defences in front of or behind a classifier, each with the attacks that bypass its broken gradients."""

from meddef.defenses.base import ATTACKERS, Blocked, Defended, Preprocessed, made_on
from meddef.defenses.registry import DEFENSES, build_defense
from meddef.defenses.smoothing import ABSTAIN, Certificates, Smoothed

__all__ = [
    "ABSTAIN",
    "ATTACKERS",
    "DEFENSES",
    "Blocked",
    "Certificates",
    "Defended",
    "Preprocessed",
    "Smoothed",
    "build_defense",
    "made_on",
]
