"""Checks that distinguish a robust model from a failed attack, for any ``nn.Module``."""

from meddef.robustness.check_result import CheckResult
from meddef.robustness.evidence import BUDGETS
from meddef.robustness.report import robustness_report

__all__ = ["BUDGETS", "CheckResult", "robustness_report"]
