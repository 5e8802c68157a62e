"""Attacks in pixel space under one contract: batch in, batch out, the model left unchanged."""

from meddef.attacks.apgd import apgd
from meddef.attacks.capture import NotCapturedWarning, climbing
from meddef.attacks.contract import ZeroGradientWarning
from meddef.attacks.corruption import corruption
from meddef.attacks.cw import cw
from meddef.attacks.ensemble import ensemble
from meddef.attacks.fab import fab
from meddef.attacks.gradient import bim, fgsm, pgd
from meddef.attacks.hopskipjump import NoStartWarning, hopskipjump
from meddef.attacks.jsma import jsma
from meddef.attacks.loop import Trace
from meddef.attacks.mifgsm import mifgsm
from meddef.attacks.noise import noise
from meddef.attacks.patch import patch
from meddef.attacks.reach import ShortReachWarning
from meddef.attacks.registry import ATTACKS
from meddef.attacks.square import square
from meddef.attacks.transfer import transfer
from meddef.attacks.universal import perturbed, universal

__all__ = [
    "ATTACKS",
    "NoStartWarning",
    "NotCapturedWarning",
    "ShortReachWarning",
    "Trace",
    "ZeroGradientWarning",
    "apgd",
    "bim",
    "climbing",
    "corruption",
    "cw",
    "ensemble",
    "fab",
    "fgsm",
    "hopskipjump",
    "jsma",
    "mifgsm",
    "noise",
    "patch",
    "perturbed",
    "pgd",
    "square",
    "transfer",
    "universal",
]
