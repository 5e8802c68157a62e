"""The attacks by name, each with the settings of the MedDef paper as defaults."""

from functools import partial

from torch import Tensor

from meddef.attacks.gradient import bim, fgsm, pgd
from meddef.attacks.jsma import jsma

ATTACKS: dict[str, partial[Tensor]] = {
    "fgsm": partial(fgsm, eps=0.05),
    "bim": partial(bim, eps=0.05, step_size=0.01, steps=40),
    "pgd": partial(pgd, eps=0.05, step_size=0.01, steps=40),
    "jsma": partial(jsma, theta=0.1, gamma=0.14),
}
