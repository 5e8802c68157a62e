"""The five models of the paper, four controls, and one competing model. Images in [0, 1] in, logits out."""

from meddef.models.binary import Binary
from meddef.models.defense import AFD, MFE, MSF, DefenseModule
from meddef.models.meddef import (
    CAPACITY_CONTROLS,
    COMPONENTS,
    KNOWN_VARIANTS,
    RIVALS,
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
    "RIVALS",
    "SINGLE",
    "VARIANTS",
    "Binary",
    "DefenseModule",
    "MedDef",
    "Normalized",
    "SelfAttention",
    "build_model",
    "components_of",
]
