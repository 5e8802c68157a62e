"""The attacks by name: with the MedDef paper's settings, or its epsilon where it does not use the attack."""

from functools import partial

from torch import Tensor

from meddef.attacks.apgd import apgd
from meddef.attacks.ensemble import ensemble
from meddef.attacks.fab import fab
from meddef.attacks.gradient import bim, fgsm, pgd
from meddef.attacks.jsma import jsma
from meddef.attacks.noise import noise
from meddef.attacks.square import square

ATTACKS: dict[str, partial[Tensor]] = {
    "fgsm": partial(fgsm, eps=0.05),
    "bim": partial(bim, eps=0.05, step_size=0.01, steps=40),
    "pgd": partial(pgd, eps=0.05, step_size=0.01, steps=40),
    "jsma": partial(jsma, theta=0.1, gamma=0.14),
    "apgd": partial(apgd, eps=0.05, steps=100),
    "fab": partial(fab, eps=0.05, steps=100),
    "square": partial(square, eps=0.05, queries=5000),
    "ensemble": partial(ensemble, eps=0.05),
    "noise": partial(noise, eps=0.05),
}
SOURCES: dict[str, str] = {
    "fgsm": "Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572",
    "bim": "Kurakin et al. 2017, https://arxiv.org/abs/1607.02533",
    "pgd": "Madry et al. 2018, https://arxiv.org/abs/1706.06083",
    "jsma": "Papernot et al. 2016, https://arxiv.org/abs/1511.07528",
    "apgd": "Croce & Hein 2020, https://arxiv.org/abs/2003.01690",
    "fab": "Croce & Hein 2020, https://arxiv.org/abs/1907.02044",
    "square": "Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049",
    "ensemble": "after AutoAttack, Croce & Hein 2020, https://arxiv.org/abs/2003.01690",
    "noise": "no attack: random signs of FGSM's size, the control",
}
