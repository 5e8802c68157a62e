"""Is this model robust? Checks that tell a robust model from an attack that failed, for any ``nn.Module``."""

from meddef.audit.robustness.evidence import BUDGETS
from meddef.audit.robustness.item import Item
from meddef.audit.robustness.report import robustness_report

__all__ = ["BUDGETS", "Item", "robustness_report"]
