"""Reliability of numbers: arithmetic on the printed ones (`findings`), without torch, and checks whether a model's
robustness is real (`robustness_report`), which imports torch on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddef.audit.numbers import decided_by, findings
from meddef.printed.finding import Finding, Verdict
from meddef.printed.published import Published

if TYPE_CHECKING:
    from meddef.robustness import robustness_report

__all__ = ["Finding", "Published", "Verdict", "decided_by", "findings", "robustness_report"]


def __getattr__(name: str) -> Any:
    if name == "robustness_report":
        from meddef.robustness import robustness_report

        return robustness_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
