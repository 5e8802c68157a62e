"""The summary of a report: worst-case accuracy of the model, and the checks of the attacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from meddef.robustness.check_result import CheckResult
from meddef.statistics import Proportion

MEANING = (
    "PASS means that the attacks work on this model, so that its robust accuracy can be trusted; it does not mean "
    "that the model is robust."
)


def headline(items: Sequence[CheckResult]) -> dict[str, Any]:
    """Numbers of the whole report: images, clean_accuracy, robust_accuracy (in the worst case over all attacks tried,
    as a share of all images) with its 95 % Wilson interval, and how many items have each verdict.

    Values that were not measured are None.
    """
    by_name = {item.name: item for item in items}
    clean, worst = (
        by_name[name].numbers if name in by_name else {}
        for name in ("better_than_one_class", "worst_case_is_near")
    )
    n, robust = clean.get("images"), worst.get("robust_accuracy")
    kept = None if robust is None or n is None else Proportion(round(robust * n), int(n))
    return {
        "images": n,
        "clean_accuracy": clean.get("accuracy"),
        "robust_accuracy": robust,
        "robust_accuracy_interval": None if kept is None else list(kept.interval),
        "verdicts": dict(Counter(item.verdict for item in items)),
    }


def words(found: dict[str, Any], eps: float) -> str:
    """The headline as a sentence."""
    if found["robust_accuracy"] is None:
        return f"Robust accuracy at ε = {eps:.4g} could not be measured."
    low, high = found["robust_accuracy_interval"]
    return (
        f"Robust accuracy at ε = {eps:.4g}, worst case over all attacks tried: {found['robust_accuracy']:.1%} "
        f"(95 % {low:.1%} to {high:.1%}) of {found['images']} images; clean accuracy {found['clean_accuracy']:.1%}."
    )


def closing(found: dict[str, Any]) -> str:
    """The outcome of the checks and its meaning."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found["verdicts"].items()))
    return f"Checks: {counts}. {MEANING}"
