"""Sanity checks of Tables 1 and 2: properties of attacks that find the worst case.

Carlini et al. 2019, "On evaluating adversarial robustness": iterative attacks beat single-step ones, a larger ε never
helps the defender, and accuracy under attack is no higher than clean accuracy. None is a law for an attack that misses
the worst case; a table that violates them is only an upper bound on robustness.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from meddef.paper import VARIANT_LABELS
from meddef.printed.finding import Finding, verdict_of
from meddef.printed.published import ATTACKS, DATASETS, EPSILON_TABLE, EPSILONS, Published

WEAK_ATTACK = (
    "An attack that does not ascend the loss of this model (another model, normalisation, sign or labels) would "
    "explain it."
)


def _series(values: list[Decimal]) -> str:
    return " → ".join(f"{value}" for value in values)


def rises_with_epsilon(published: Published) -> Iterator[Finding]:
    """Accuracy under one attack does not rise from ε = 0.01 to 0.05 to 0.10."""
    for dataset in DATASETS:
        for variant in VARIANT_LABELS:
            for attack in ATTACKS:
                values = [published.accuracy(dataset, variant, attack, eps) for eps in EPSILONS]
                holds = values == sorted(values, reverse=True)
                detail = f"{VARIANT_LABELS[variant]}, {attack}, ε 0.01 → 0.05 → 0.10: accuracy {_series(values)} %."
                if not holds:
                    detail += (
                        " The ball of a smaller ε lies within that of a larger one. A fixed step size that overshoots "
                        "would also explain it."
                    )
                yield _finding("rises_with_epsilon", dataset, f"{variant}:{attack}", holds, detail)


def above_clean(published: Published) -> Iterator[Finding]:
    """Robust accuracy is at most the clean accuracy."""
    for dataset in DATASETS:
        for variant in VARIANT_LABELS:
            clean = published.clean(dataset, variant)
            for attack in ATTACKS:
                values = [published.accuracy(dataset, variant, attack, eps) for eps in EPSILONS]
                holds = all(value <= clean for value in values)
                detail = (
                    f"{VARIANT_LABELS[variant]}, {attack}: clean {clean} %, attacked {_series(values)} %."
                )
                if not holds:
                    repaired = (max(values) - clean) / (100 - clean)
                    detail += (
                        f" At least {repaired:.0%} of the misclassified images are correct after the attack."
                        f" {WEAK_ATTACK} So would another test set for the attacked column."
                    )
                yield _finding("above_clean", dataset, f"{variant}:{attack}", holds, detail)


def clean_repeats(published: Published) -> Iterator[Finding]:
    """The clean accuracy, printed once for each ε, is the same each time."""
    for dataset in DATASETS:
        for variant in VARIANT_LABELS:
            values = [published.accuracy(dataset, variant, "clean", eps) for eps in EPSILONS]
            detail = (
                f"{VARIANT_LABELS[variant]}: clean {_series(values)} % in the rows of ε 0.01 → 0.05 → 0.10."
            )
            yield _finding("clean_repeats", dataset, variant, len(set(values)) == 1, detail)


def iterative_beats_single_step(published: Published) -> Iterator[Finding]:
    """Accuracy under BIM and PGD (40 steps) is no higher than under FGSM (one step) at the same ε."""
    for dataset, variant, eps in published.rows():
        fgsm = published.accuracy(dataset, variant, "fgsm", eps)
        for attack in ("bim", "pgd"):
            value = published.accuracy(dataset, variant, attack, eps)
            detail = f"{VARIANT_LABELS[variant]}, ε = {eps:.2f}: {attack} {value} %, FGSM {fgsm} %."
            if value > fgsm:
                detail += f" {WEAK_ATTACK}"
            name = f"{eps:.2f}:{variant}:{attack}"
            yield _finding("iterative_beats_single_step", dataset, name, value <= fgsm, detail)


def jsma_ignores_epsilon(published: Published) -> Iterator[Finding]:
    """JSMA's settings (threshold, distortion) contain no ε, so its accuracy should be one number per model."""
    for dataset in DATASETS:
        for variant in VARIANT_LABELS:
            values = [published.accuracy(dataset, variant, "jsma", eps) for eps in EPSILONS]
            gaps = [
                abs(v - published.accuracy(dataset, variant, "fgsm", eps))
                for v, eps in zip(values, EPSILONS, strict=True)
            ]
            holds = len(set(values)) == 1
            detail = f"{VARIANT_LABELS[variant]}: JSMA {_series(values)} % at ε 0.01 → 0.05 → 0.10."
            if not holds:
                detail += (
                    f" It stays within {max(gaps)} points of FGSM. A JSMA whose step or bound is ε would explain the "
                    "change; the text does not mention one."
                )
            yield _finding("jsma_ignores_epsilon", dataset, variant, holds, detail)


def _finding(check: str, dataset: str, name: str, holds: bool, detail: str) -> Finding:
    exhibit = EPSILON_TABLE[dataset]
    return Finding(f"{check}:{exhibit}:{name}", "consistency", exhibit, None, None, verdict_of(holds), detail)
