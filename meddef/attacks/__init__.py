"""Attacks in pixel space under one contract: batch in, batch out, the model left as found."""

from meddef.attacks.contract import ZeroGradientWarning
from meddef.attacks.gradient import bim, fgsm, pgd
from meddef.attacks.jsma import jsma
from meddef.attacks.loop import Trace
from meddef.attacks.registry import ATTACKS

__all__ = ["ATTACKS", "Trace", "ZeroGradientWarning", "bim", "fgsm", "jsma", "pgd"]
