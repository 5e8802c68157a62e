"""The five models of the paper, two controls for their size, and a rival's. Images in [0, 1] in, logits out."""

from meddef.models.defense import AFD, MFE, MSF, DefenseModule
from meddef.models.meddef import (
    CAPACITY_CONTROLS,
    COMPONENTS,
    RIVALS,
    VARIANTS,
    MedDef,
    Normalized,
    SelfAttention,
    build_model,
)

__all__ = [
    "AFD",
    "CAPACITY_CONTROLS",
    "COMPONENTS",
    "MFE",
    "MSF",
    "RIVALS",
    "VARIANTS",
    "DefenseModule",
    "MedDef",
    "Normalized",
    "SelfAttention",
    "build_model",
]
