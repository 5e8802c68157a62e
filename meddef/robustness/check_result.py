"""What one item of the robustness report is: a verdict, the numbers behind it and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

CheckVerdict = Literal["PASS", "FAIL", "N-A"]
Number = float | int


@dataclass(frozen=True)
class CheckResult:
    """One check of one model.

    numbers: what the verdict follows from, by name; empty where nothing could be measured.
    detail: the numbers in words, or why there are none. also: what else would explain a FAIL.
    source: who asks for this check.
    """

    name: str
    verdict: CheckVerdict
    numbers: Mapping[str, Number]
    detail: str
    also: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The item as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What a check measured: whether it is passed (None: nothing could be measured), the numbers, and a sentence."""

    passes: bool | None
    numbers: Mapping[str, Number]
    detail: str
