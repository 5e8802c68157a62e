"""Claims of the ledger about what happens as ε grows, and about ResNet18 under attack (Tables 1 and 2)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meddef.audit import compare
from meddef.audit.pairs import margin
from meddef.audit.published import ATTACKS, DATASETS, DEFENDED, EPSILONS, Published
from meddef.audit.verdicts import Result, every
from meddef.paper import VARIANT_LABELS

Claim = dict[str, Any]


def baseline_attacked(claim: Claim, published: Published) -> Result:
    """Every attack takes more from ResNet18 on chest than two samples of the test set differ by."""
    n, clean = published.test_size("chest_xray"), published.clean("chest_xray", "resnet18")
    comparisons = []
    for eps in EPSILONS:
        for attack in ATTACKS:
            after = published.accuracy("chest_xray", "resnet18", attack, eps)
            holds = float(clean - after) > margin(float(clean), float(after), n)
            comparisons.append((holds, f"{attack} ε {eps:.2f}: {clean} to {after} %"))
    return every(comparisons)


def _fall(published: Published, dataset: str, variant: str, attack: str) -> Decimal:
    first, last = (published.accuracy(dataset, variant, attack, eps) for eps in (EPSILONS[0], EPSILONS[-1]))
    return first - last


def baseline_degrades(claim: Claim, published: Published) -> Result:
    """ResNet18 loses accuracy from ε = 0.01 to 0.10 under every attack."""
    return every(
        [
            (
                _fall(published, d, "resnet18", a) > 0,
                f"{d} {a} changes by {-_fall(published, d, 'resnet18', a):+} points",
            )
            for d in DATASETS
            for a in ATTACKS
        ]
    )


def stable(claim: Claim, published: Published) -> Result:
    """Every variant loses less than ResNet18 from ε = 0.01 to 0.10."""
    comparisons = []
    for dataset in DATASETS:
        for attack in ATTACKS:
            base = _fall(published, dataset, "resnet18", attack)
            for variant in DEFENDED:
                fall = _fall(published, dataset, variant, attack)
                words = f"{dataset} {attack}: {VARIANT_LABELS[variant]} {-fall:+} points, ResNet18 {-base:+}"
                comparisons.append((fall <= base, words))
    verdict, detail = every(comparisons)
    return verdict, f"{detail} A baseline that is low at ε = 0.01 has little left to lose."


def degrades(claim: Claim, published: Published) -> Result:
    """Every model loses accuracy under every attack from ε = 0.01 to 0.10."""
    return every(
        [
            (
                _fall(published, d, v, a) > 0,
                f"{d} {a}: {VARIANT_LABELS[v]} {-_fall(published, d, v, a):+} points",
            )
            for d in DATASETS
            for v in VARIANT_LABELS
            for a in ATTACKS
        ]
    )


def strong(claim: Claim, published: Published) -> Result:
    """Every variant above ResNet18 at ε = 0.10."""
    return every(
        [c for v in DEFENDED for c in compare.attacked(published, v, "resnet18", epsilons=EPSILONS[-1:])]
    )


def baseline_fails(claim: Claim, published: Published) -> Result:
    """ResNet18 at ε = 0.05 and 0.10 falls below what the largest class alone would give."""
    comparisons = []
    for dataset in DATASETS:
        classes = published.protocol["datasets"][dataset]["class_counts"]["test"]
        prior = 100 * max(classes.values()) / sum(classes.values())
        for eps in EPSILONS[1:]:
            for attack in ATTACKS:
                value = published.accuracy(dataset, "resnet18", attack, eps)
                comparisons.append(
                    (value < prior, f"{dataset} {attack} ε {eps:.2f}: {value} %, largest class {prior:.2f} %")
                )
    return every(comparisons)


CHECKS = {
    "V-B.baseline-attacks": baseline_attacked,
    "V-C.baseline-degrades": baseline_degrades,
    "V-C.stable": stable,
    "V-D.degrades": degrades,
    "V-D.strong": strong,
    "V-D.baseline": baseline_fails,
}
