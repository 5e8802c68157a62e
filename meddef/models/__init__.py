"""The five models of the paper, and four controls. Images in [0, 1] in, logits out."""

from meddef.models.defense import AFD, MFE, MSF, DefenseModule
from meddef.models.meddef import (
    CAPACITY_CONTROLS,
    COMPONENTS,
    KNOWN_VARIANTS,
    SINGLE,
    VARIANTS,
    MedDef,
    Normalized,
    SelfAttention,
    build_model,
    components_of,
)

__all__ = [
    "AFD",
    "CAPACITY_CONTROLS",
    "COMPONENTS",
    "KNOWN_VARIANTS",
    "MFE",
    "MSF",
    "SINGLE",
    "VARIANTS",
    "DefenseModule",
    "MedDef",
    "Normalized",
    "SelfAttention",
    "build_model",
    "components_of",
]
