"""Claims that moderate pruning helps: ASR at 30 % (Tables 3 and 4) against what Tables 1 and 2 allow unpruned.

With clean accuracy c and accuracy a under attack, of all images at least c - a and at most min(c, 100 - a) were right
before and wrong after; divided by c these bound the ASR before pruning. Tables 3 and 4 do not print ε, so both ε of
the ASR figures are tried, and only what both agree on is said.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meddef.audit.finding import CANNOT_BE_CHECKED, DOES_NOT_HOLD, HOLDS
from meddef.audit.published import ATTACKS, DATASETS, DEFENDED, RATES, Published
from meddef.audit.verdicts import Result
from meddef.paper import VARIANT_LABELS

FIGURE_EPSILONS = (0.05, 0.10)
SHOWN = 4


def unpruned_asr(
    published: Published, dataset: str, variant: str, attack: str, eps: float
) -> tuple[Decimal, Decimal]:
    """Smallest and largest ASR in percent that the clean and attacked accuracies allow."""
    clean, after = published.clean(dataset, variant), published.accuracy(dataset, variant, attack, eps)
    return 100 * max(clean - after, Decimal(0)) / clean, 100 * min(clean, 100 - after) / clean


def _sort(published: Published, datasets: tuple[str, ...]) -> dict[str, list[str]]:
    """Every (dataset, variant, attack) under "lower", "higher" or "open": ASR at 30 % against unpruned."""
    groups: dict[str, list[str]] = {"lower": [], "higher": [], "open": []}
    for dataset in datasets:
        for variant in DEFENDED:
            for attack in ATTACKS:
                pruned = published.asr(dataset, variant, attack, RATES[0])
                bounds = [unpruned_asr(published, dataset, variant, attack, eps) for eps in FIGURE_EPSILONS]
                low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
                group = "lower" if pruned < low else "higher" if pruned > high else "open"
                where = f"{dataset} {VARIANT_LABELS[variant]} {attack}"
                groups[group].append(f"{where}: {pruned} % against {low:.2f} to {high:.2f} % unpruned")
    return groups


def _detail(groups: dict[str, list[str]], shown: str) -> str:
    counts = ", ".join(f"{name} in {len(words)}" for name, words in groups.items())
    examples = "; ".join(groups[shown][:SHOWN])
    return (
        f"ASR at 30 % pruning, against unpruned at ε = 0.05 or 0.10, is {counts} of {sum(map(len, groups.values()))} "
        f"cells{f'; {shown}: {examples}' if examples else ''}. Tables 3 and 4 at another ε would explain a rise."
    )


def no_degradation(claim: dict[str, Any], published: Published) -> Result:
    """No variant on ROCT has a certainly higher ASR at 30 % than unpruned."""
    groups = _sort(published, ("roct",))
    if groups["higher"]:
        return DOES_NOT_HOLD, _detail(groups, "higher")
    return (CANNOT_BE_CHECKED if groups["open"] else HOLDS), _detail(groups, "open")


def can_enhance(claim: dict[str, Any], published: Published) -> Result:
    """Some variant has a certainly lower ASR at 30 % than unpruned."""
    groups = _sort(published, DATASETS)
    if groups["lower"]:
        return HOLDS, _detail(groups, "lower")
    return (CANNOT_BE_CHECKED if groups["open"] else DOES_NOT_HOLD), _detail(groups, "higher")


CHECKS = {
    "I.roct-pruning": no_degradation,
    "V-E.roct-pruning": no_degradation,
    "V-F.roct-pruning": no_degradation,
    "I.moderate": can_enhance,
    "V-C.moderate": can_enhance,
    "V-F.moderate": can_enhance,
}
