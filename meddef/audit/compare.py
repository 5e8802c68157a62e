"""Two models side by side, cell by cell. Ties count for the one that is said to be better."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from meddef.audit.published import ATTACKS, DATASETS, EPSILONS, RATES, Published
from meddef.paper import VARIANT_LABELS

Comparison = tuple[bool, str]


def clean(
    published: Published, first: str, second: str, datasets: Sequence[str] = DATASETS
) -> list[Comparison]:
    """first's clean accuracy is at least second's."""
    return [
        _compare(published.clean(d, first), published.clean(d, second), f"{d} clean", first, second)
        for d in datasets
    ]


def attacked(
    published: Published,
    first: str,
    second: str,
    datasets: Sequence[str] = DATASETS,
    epsilons: Sequence[float] = EPSILONS,
) -> list[Comparison]:
    """first's accuracy under attack is at least second's, in every cell of Tables 1 and 2."""
    return [
        _compare(
            published.accuracy(d, first, a, eps),
            published.accuracy(d, second, a, eps),
            f"{d} {a} ε {eps:.2f}",
            first,
            second,
        )
        for d in datasets
        for eps in epsilons
        for a in ATTACKS
    ]


def asr(published: Published, lower: str, higher: str) -> list[Comparison]:
    """lower's ASR is at most higher's, in every cell of Tables 3 and 4."""
    return [
        _compare(
            published.asr(d, higher, a, rate),
            published.asr(d, lower, a, rate),
            f"{d} {a} ASR at {100 * rate:.0f} %",
            higher,
            lower,
        )
        for d in DATASETS
        for rate in RATES
        for a in ATTACKS
    ]


def _compare(a: Decimal, b: Decimal, where: str, first: str, second: str) -> Comparison:
    return a >= b, f"{where}: {VARIANT_LABELS[first]} {a}, {VARIANT_LABELS[second]} {b}"
