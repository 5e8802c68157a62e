"""One check of the robustness report: a verdict, the numbers behind it and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

CheckVerdict = Literal["PASS", "FAIL", "N-A"]
Number = float | int


@dataclass(frozen=True)
class CheckResult:
    """One check of one model.

    numbers: the basis of the verdict, by name; empty where nothing could be measured. detail: the numbers in words, or
    why there are none. also: other explanations of a FAIL. source: the reference for this check.
    """

    name: str
    verdict: CheckVerdict
    numbers: Mapping[str, Number]
    detail: str
    also: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The check as a JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check: passed or not (None: not measurable), the numbers, and a sentence."""

    passes: bool | None
    numbers: Mapping[str, Number]
    detail: str
