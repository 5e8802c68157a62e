"""Attacks and variants, one row each: names, labels, colours and defaults.

An attack is a file in ``meddef/attacks`` and a row of ``ATTACKS``; a variant of MedDef is a row of ``VARIANTS``. Their
order is that of tables and legends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from meddef.errors import InputError

FORWARD = 0.4  # a forward pass alone, as a share of a pass with its gradient
OTHER = "#CC79A7"
Settings = Mapping[str, Any]
Line = str | tuple[int, tuple[float, ...]]


def _steps(settings: Settings, features: int) -> float:
    return float(settings.get("steps", 1) * settings.get("restarts", 1))


def _queries(settings: Settings, features: int) -> float:
    return float(FORWARD * settings["queries"])


def _searches(settings: Settings, features: int) -> float:
    return float(settings["steps"] * settings["searches"])


def _ensemble(settings: Settings, features: int) -> float:
    """Ten quick steps of PGD, APGD, FAB with a fifth of its steps, Square."""
    return float(10 + settings["steps"] + 2 * settings["steps"] / 5 + _queries(settings, features))


def _jsma(settings: Settings, features: int) -> float:
    """Two backward passes per move."""
    most = settings["gamma"] * features // settings["features"]
    moves = most if settings["max_steps"] is None else settings["max_steps"]
    return float(moves / settings["pairs_per_step"] * (2 - FORWARD))


@dataclass(frozen=True)
class Attack:
    """An attack: the function ``name`` in ``meddef/attacks/<module>.py``, and its metadata for pages and plans.

    ``eps`` and ``defaults`` are its default arguments, and part of the keys of its cells; ``eps`` None: the attack has
    no ε. A default ``norm`` of "l2" makes ``eps`` the length of the perturbation. ``passes`` counts, from all its
    settings and the number of pixels times channels, the passes (forward and backward) of one image that resists to the
    end.
    """

    name: str
    label: str
    source: str
    module: str = ""  # the attack's name where it is empty
    eps: float | None = 0.05  # pixel units; the paper's
    defaults: Settings = field(default_factory=dict)
    passes: Callable[[Settings, int], float] = _steps
    published: bool = False  # in the paper's tables
    marker: str = "P"
    line: Line = (0, (4, 1, 1, 1, 1, 1))


@dataclass(frozen=True)
class Variant:
    """A model: MedDef with ``components`` of its DefenseModule (None: it has no such module), or another network.

    ``colour`` is that of the model with its usual training, ``other_colour`` that of its control.
    """

    name: str
    label: str
    components: tuple[str, ...] | None
    group: Literal["paper", "size", "single", "rival", "own"] = "own"
    colour: str = OTHER
    other_colour: str = OTHER
    training: Literal["clean", "adversarial"] = "adversarial"  # how it is usually trained


_ATTACKS = (
    Attack(
        "fgsm", "FGSM", "Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572", "gradient",
        published=True, marker="^", line="--",
    ),
    Attack(
        "pgd", "PGD", "Madry et al. 2018, https://arxiv.org/abs/1706.06083", "gradient",
        defaults={"step_size": 0.01, "steps": 40}, published=True, marker="s", line="-",
    ),
    Attack(
        "bim", "BIM", "Kurakin et al. 2017, https://arxiv.org/abs/1607.02533", "gradient",
        defaults={"step_size": 0.01, "steps": 40}, published=True, marker="D", line="-.",
    ),
    Attack(
        "jsma", "JSMA", "Papernot et al. 2016, https://arxiv.org/abs/1511.07528",
        eps=None, defaults={"theta": 0.1, "gamma": 0.14}, passes=_jsma, published=True, marker="v", line=":",
    ),
    Attack(
        "ensemble", "Ensemble (worst case)", "after AutoAttack, Croce & Hein 2020, https://arxiv.org/abs/2003.01690",
        passes=_ensemble, marker="*", line=(0, (6, 1.5)),
    ),
    Attack(
        "apgd", "APGD", "Croce & Hein 2020, https://arxiv.org/abs/2003.01690", defaults={"steps": 100},
    ),
    Attack(
        "fab", "FAB", "Croce & Hein 2020, https://arxiv.org/abs/1907.02044", defaults={"steps": 100},
        # beside each gradient a forward pass, and a sort of all features for each projection
        passes=lambda settings, features: 2 * _steps(settings, features),
    ),
    Attack(
        "square", "Square", "Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049",
        defaults={"queries": 5000}, passes=_queries,
    ),
    Attack(
        "mifgsm", "MI-FGSM (momentum)", "Dong et al. 2018, https://arxiv.org/abs/1710.06081", defaults={"steps": 10},
    ),
    Attack(
        "cw", "Carlini-Wagner (L2)", "Carlini & Wagner 2017, https://arxiv.org/abs/1608.04644",
        eps=1.0, defaults={"norm": "l2", "steps": 100}, passes=_searches,
    ),
    Attack(
        "hopskipjump", "HopSkipJump (answers alone)", "Chen et al. 2020, https://arxiv.org/abs/1904.02144",
        defaults={"queries": 5000}, passes=_queries,
    ),
    Attack(
        "patch", "patch (per image)", "after Brown et al. 2017, https://arxiv.org/abs/1712.09665",
        eps=None, defaults={"share": 0.02, "steps": 40},
    ),
    Attack(
        "noise", "noise", "baseline without attack: random signs of FGSM's size",
        passes=lambda settings, features: 0.0,
    ),
    Attack(
        "corruption", "common corruption",
        "control without attacker: Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261",
        eps=None, defaults={"kind": "gaussian_noise", "severity": 3}, passes=lambda settings, features: 0.0,
    ),
)  # fmt: skip
_VARIANTS = (
    Variant("resnet18", "ResNet18", None, "paper", "#333333", training="clean"),
    Variant("no_afd_mfe_msf", "MedDef w/o AFD+MFE+MSF", (), "paper", "#56B4E9"),
    Variant("no_afd_mfe", "MedDef w/o AFD+MFE", ("msf",), "paper", "#0072B2"),
    Variant("no_afd", "MedDef w/o AFD", ("mfe", "msf"), "paper", "#009E73"),
    Variant("full", "MedDef (Full DAAM)", ("afd", "mfe", "msf"), "paper", "#D55E00", other_colour="#E69F00"),
    Variant("plain_capacity", "ResNet18 + plain blocks", None, "size", "#8C6D1F"),
    Variant("attention_only", "ResNet18 + self-attention", None, "size", "#7B3294"),
    Variant("afd_only", "MedDef (AFD alone)", ("afd",), "single", "#A6761D"),
    Variant("mfe_only", "MedDef (MFE alone)", ("mfe",), "single", "#66A61E"),  # MSF alone is w/o AFD+MFE
    Variant("cbam", "ResNet18 + CBAM", None, "rival", "#117733"),
)
ATTACKS: dict[str, Attack] = {row.name: row for row in _ATTACKS}
VARIANTS: dict[str, Variant] = {row.name: row for row in _VARIANTS}
PUBLISHED_ATTACKS = tuple(row.name for row in _ATTACKS if row.published)
DEFENDED = tuple(row.name for row in _VARIANTS if row.group == "paper" and row.components is not None)
"""The variants in the paper's tables."""
WITHOUT_EPS = tuple(row.name for row in _ATTACKS if row.eps is None)


def variants(group: str) -> tuple[str, ...]:
    """Names of the variants of a group, in the order of the catalogue."""
    return tuple(row.name for row in VARIANTS.values() if row.group == group)


def usual_training(variant: str) -> str:
    """The paper's training of a model: ResNet18 cleanly, all others adversarially."""
    return VARIANTS[variant].training if variant in VARIANTS else "adversarial"


@cache
def declared(attack: str) -> dict[str, Any]:
    """Name -> default of each keyword of an attack's function that has a plain one, read from its file without torch.

    Raises:
        InputError: the file of the row does not define the function.
    """
    path = Path(__file__).parent / "attacks" / f"{ATTACKS[attack].module or attack}.py"
    code = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    found = [node for node in code.body if isinstance(node, ast.FunctionDef) and node.name == attack]
    if not found:
        raise InputError(
            f"meddef/attacks/{path.name} has no function '{attack}', which meddef.catalogue names"
        )
    defaults = zip(found[0].args.kwonlyargs, found[0].args.kw_defaults, strict=True)
    return {name.arg: value.value for name, value in defaults if isinstance(value, ast.Constant)}


def passes(attack: str, settings: Settings, features: int) -> float:
    """``Attack.passes`` with the ``settings`` that are given and defaults for the others.

    For an attack in old records without a row, steps times restarts.
    """
    if (row := ATTACKS.get(attack)) is None:
        return _steps(settings, features)
    return row.passes(declared(attack) | dict(row.defaults) | dict(settings), features)
