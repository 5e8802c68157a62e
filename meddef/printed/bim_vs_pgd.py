"""BIM and PGD with the same ε, step size and number of steps differ by PGD's random start alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from meddef.paper import VARIANT_LABELS
from meddef.printed.finding import Finding, verdict_of
from meddef.printed.published import COMPRESSION_TABLE, DATASETS, EPSILON_TABLE, RATES, Published

Z95 = 1.959964


def margin(a: float, b: float, n: int) -> float:
    """95 % margin, in points, for the difference of two percentages over n images each, taken as independent.

    Agresti and Caffo (2000): one success and one failure more in each sample, so that 0 and 100 % have a margin too.
    """
    shares = [(value * n + 100) / (n + 2) for value in (a, b)]
    return Z95 * math.sqrt(sum(share * (100 - share) for share in shares) / (n + 2))


def bim_and_pgd(published: Published, measured: str = "") -> Iterator[Finding]:
    """One finding per row of Tables 1 to 4: the gap between BIM and PGD against the sampling margin.

    measured: what this project's own runs show (`meddef.printed.measured`); reported, but not used in the verdict.
    The text prints step and number of steps for ε = 0.05 only; other ε are taken to use the same.
    """
    for dataset, variant, eps in published.rows():
        bim, pgd = (float(published.accuracy(dataset, variant, attack, eps)) for attack in ("bim", "pgd"))
        yield _pair(published, dataset, EPSILON_TABLE[dataset], f"{eps:.2f}:{variant}", bim, pgd, measured)
    for dataset in DATASETS:
        for rate in RATES:
            for variant in VARIANT_LABELS:
                bim, pgd = (float(published.asr(dataset, variant, attack, rate)) for attack in ("bim", "pgd"))
                name = f"{rate:.1f}:{variant}"
                yield _pair(published, dataset, COMPRESSION_TABLE[dataset], name, bim, pgd, measured)


def _pair(
    published: Published,
    dataset: str,
    exhibit: str,
    name: str,
    bim: float,
    pgd: float,
    measured: str,
) -> Finding:
    settings, n = published.protocol["attacks"], published.test_attention_or_size(dataset)
    gap, allowed = abs(pgd - bim), margin(bim, pgd, n)
    same = settings["bim"] == settings["pgd"]
    what = "Accuracy" if exhibit in EPSILON_TABLE.values() else "ASR"
    detail = (
        f"{what} under BIM {bim:.2f} %, under PGD {pgd:.2f} %: {gap:.2f} points apart; two samples of n = {n} may "
        f"differ by {allowed:.2f} points (95 %). As printed (for ε = {settings['pgd']['eps']}), step and steps are "
        f"{'the same' if same else 'different'}."
    )
    if measured:
        detail += f" {measured}"
    if gap > allowed:
        detail += (
            " Settings other than those printed, or PGD images made on another model, would also explain it."
        )
    return Finding(
        f"bim_and_pgd:{exhibit}:{name}",
        "consistency",
        exhibit,
        None,
        None,
        verdict_of(gap <= allowed),
        detail,
    )
