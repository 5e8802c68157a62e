"""Claims of the ledger that say one model is higher, lower or best: compared cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from meddef.audit import bold, compare
from meddef.audit.finding import DOES_NOT_HOLD, HOLDS
from meddef.audit.published import ATTACKS, DATASETS, DEFENDED, EPSILONS, RATES, Published
from meddef.audit.verdicts import Result, every, some
from meddef.paper import VARIANT_LABELS

Claim = dict[str, Any]
PARTIAL = DEFENDED[:-1]
# Components in the order in which the variants lose them: full -> w/o AFD -> w/o AFD+MFE -> w/o AFD+MFE+MSF.
REMOVALS = (
    ("AFD", "full", "no_afd"),
    ("MFE", "no_afd", "no_afd_mfe"),
    ("MSF", "no_afd_mfe", "no_afd_mfe_msf"),
)


def bim_after_fgsm(claim: Claim, published: Published) -> Result:
    """BIM leaves no more accuracy than FGSM at the same ε."""
    return every(
        [
            (
                published.accuracy(d, v, "bim", eps) <= published.accuracy(d, v, "fgsm", eps),
                f"{d} {VARIANT_LABELS[v]} ε {eps:.2f}",
            )
            for d, v, eps in published.rows()
        ]
    )


def superior(claim: Claim, published: Published) -> Result:
    """Full above every other model in Tables 1 and 2 and below every other in Tables 3 and 4."""
    others = [v for v in VARIANT_LABELS if v != "full"]
    comparisons: list[compare.Comparison] = []
    for other in others:
        comparisons += compare.clean(published, "full", other) + compare.attacked(published, "full", other)
        comparisons += compare.asr(published, "full", other)
    return every(comparisons)


def lowest_asr(claim: Claim, published: Published) -> Result:
    """Full below every partial variant in Tables 3 and 4."""
    return every([comparison for other in PARTIAL for comparison in compare.asr(published, "full", other)])


def highest_clean(claim: Claim, published: Published) -> Result:
    """Full above every other model in clean accuracy; where the claim prints the values, they are the table's."""
    others = [v for v in VARIANT_LABELS if v != "full"]
    comparisons = [comparison for other in others for comparison in compare.clean(published, "full", other)]
    for dataset, stated in claim.get("values", {}).items():
        table = published.clean(dataset, "full")
        comparisons.append(
            (Decimal(stated) == table, f"{dataset}: {stated} in the text, {table} in the table")
        )
    return every(comparisons)


def progressive(claim: Claim, published: Published) -> Result:
    """Each removal lowers (or leaves) every accuracy of Tables 1 and 2."""
    return every(
        [
            comparison
            for _, kept, removed in REMOVALS
            for comparison in compare.clean(published, kept, removed)
            + compare.attacked(published, kept, removed)
        ]
    )


def progressive_asr(claim: Claim, published: Published) -> Result:
    """Each added component lowers every ASR of Tables 3 and 4."""
    return every([c for _, kept, removed in REMOVALS for c in compare.asr(published, kept, removed)])


def minimal_robust(claim: Claim, published: Published) -> Result:
    """Full above w/o AFD+MFE+MSF in some cell under attack."""
    return some(compare.attacked(published, "full", "no_afd_mfe_msf"))


def most_dramatic(claim: Claim, published: Published) -> Result:
    """Mean fall of accuracy over Tables 1 and 2 when each component goes: MSF's is the largest."""
    falls = {}
    for name, kept, removed in REMOVALS:
        cells = [
            published.accuracy(d, kept, a, eps) - published.accuracy(d, removed, a, eps)
            for d in DATASETS
            for eps in EPSILONS
            for a in ATTACKS
        ]
        clean = [published.clean(d, kept) - published.clean(d, removed) for d in DATASETS]
        falls[name] = (sum(cells) / len(cells), sum(clean) / len(clean))
    words = "; ".join(
        f"{name} {attacked:.2f} under attack, {clean:.2f} clean" for name, (attacked, clean) in falls.items()
    )
    holds = max(falls, key=lambda name: falls[name][0]) == "MSF"
    detail = f"Mean fall in points when removed: {words} (negative: accuracy rises)."
    return (HOLDS if holds else DOES_NOT_HOLD), detail


def roct_baseline(claim: Claim, published: Published) -> Result:
    """Every MedDef variant above ResNet18 in every column of Table 1."""
    return every(
        [
            c
            for variant in DEFENDED
            for c in compare.clean(published, variant, "resnet18", ("roct",))
            + compare.attacked(published, variant, "resnet18", ("roct",))
        ]
    )


def chest_increments(claim: Claim, published: Published) -> Result:
    """Each component adds clean accuracy on chest, and more of it than on ROCT."""
    comparisons = []
    for name, kept, removed in REMOVALS:
        chest, roct = (published.clean(d, kept) - published.clean(d, removed) for d in ("chest_xray", "roct"))
        comparisons.append(
            (chest > 0 and chest > roct, f"{name} adds {chest:+} points on chest, {roct:+} on ROCT")
        )
    return every(comparisons)


def bold_marks(claim: Claim, published: Published) -> Result:
    """Every group of the table, by `meddef.audit.bold.of_table`."""
    found = bold.of_table(published, claim["section"])
    return every([(f.verdict == HOLDS, f.detail.rstrip(".")) for f in found])


def cliff(claim: Claim, published: Published) -> Result:
    """ASR of w/o AFD+MFE+MSF is higher beyond the cliff than at 30 %, for every tabulated rate inside the range."""
    low, high = (float(claim["values"][name]) for name in ("low", "high"))
    comparisons = []
    for dataset in DATASETS:
        for rate in [rate for rate in RATES if low <= rate <= high]:
            for attack in ATTACKS:
                before, after = (
                    published.asr(dataset, "no_afd_mfe_msf", attack, r) for r in (RATES[0], rate)
                )
                words = f"{dataset} {attack}: {before} % at 30 %, {after} % at {100 * rate:.0f} %"
                comparisons.append((after > before, words))
    verdict, detail = every(comparisons)
    return verdict, f"{detail} A fall to 0 is also what a collapse to one class looks like."


def improvement(kept: str, removed: str) -> Callable[[Claim, Published], Result]:
    """A check that ``kept`` has the higher clean accuracy on both datasets."""
    return lambda claim, published: every(compare.clean(published, kept, removed))


def outperform(claim: Claim, published: Published) -> Result:
    """Full above ResNet18 in every cell of Tables 1 and 2."""
    return every(
        compare.clean(published, "full", "resnet18") + compare.attacked(published, "full", "resnet18")
    )


def reductions(claim: Claim, published: Published) -> Result:
    """Full below ResNet18 in every ASR of Tables 3 and 4, and no lower in clean accuracy."""
    return every(compare.asr(published, "full", "resnet18") + compare.clean(published, "full", "resnet18"))


CHECKS = {
    "II-B.bim": bim_after_fgsm,
    "V.superior": superior,
    "V-B.highest-clean": highest_clean,
    "fig15.optimal": highest_clean,
    "V-B.progressive": progressive,
    "V-B.minimal-robust": minimal_robust,
    "V-B.all-rates": lowest_asr,
    "V-C.all-rates": lowest_asr,
    "V-E.all-metrics": lowest_asr,
    "V-F.all-rates": lowest_asr,
    "III-C1.msf-most": most_dramatic,
    "V-C.msf-most": most_dramatic,
    "V-C.roct-baseline": roct_baseline,
    "V-C.chest-increments": chest_increments,
    "table1.bold": bold_marks,
    "table2.bold": bold_marks,
    "table3.bold": bold_marks,
    "table4.bold": bold_marks,
    "fig7.cliff": cliff,
    "V-E.cliff": cliff,
    "V-E.progressive": progressive_asr,
    "fig13.improvement": improvement("no_afd_mfe", "no_afd_mfe_msf"),
    "fig14.enhanced": improvement("no_afd", "no_afd_mfe"),
    "VI-B.outperform": outperform,
    "VI-B.reductions": reductions,
}
