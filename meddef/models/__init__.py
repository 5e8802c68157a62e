"""The five models of the paper. Images in [0, 1] in, logits out; standardisation is inside."""

from meddef.models.defense import AFD, MFE, MSF, DefenseModule
from meddef.models.meddef import COMPONENTS, VARIANTS, MedDef, Normalized, SelfAttention, build_model

__all__ = [
    "AFD",
    "COMPONENTS",
    "MFE",
    "MSF",
    "VARIANTS",
    "DefenseModule",
    "MedDef",
    "Normalized",
    "SelfAttention",
    "build_model",
]
