"""Claims of the ledger that print a value, a difference or a range which the tables print too."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meddef.audit.finding import CANNOT_BE_CHECKED, HOLDS, verdict_of
from meddef.audit.published import ATTACKS, DATASETS, EPSILON_TABLE, EPSILONS, RATES, Published
from meddef.audit.verdicts import Result, every
from meddef.paper import VARIANT_LABELS

Claim = dict[str, Any]


def _rate(claim: Claim) -> float:
    return int(claim["values"]["rate"]) / 100


def _where_asr(published: Published, value: Decimal) -> str:
    """The cells of Tables 3 and 4 that print this ASR."""
    named = [
        f"{VARIANT_LABELS[variant]} {attack} {dataset} {100 * rate:.0f} %"
        for dataset in DATASETS
        for rate in RATES
        for variant in VARIANT_LABELS
        for attack in ATTACKS
        if published.asr(dataset, variant, attack, rate) == value
    ]
    return ", ".join(named) or "no cell"


def up_to(claim: Claim, published: Published) -> Result:
    """The highest accuracy under attack of the full model, and other places where the number could come from."""
    stated = Decimal(claim["values"]["accuracy"])
    cells = {
        (d, a, eps): published.accuracy(d, "full", a, eps)
        for d in DATASETS
        for a in ATTACKS
        for eps in EPSILONS
    }
    best = max(cells, key=lambda cell: cells[cell])
    printed = [metric.partition("%")[0] for metric in published.comparison["performance_metric"]]
    rest = [value for value in printed if value == str(100 - stated)]
    table = EPSILON_TABLE[best[0]].replace("table", "Table ")
    detail = (
        f"The highest is {cells[best]} % ({table}, {best[1].upper()}, ε = {best[2]:.2f}); {stated} % stands in "
        f"{list(cells.values()).count(stated)} cells of the full model."
    )
    if rest:
        detail += f" It is 100 - {rest[0]}, the PGD ASR printed in Table 5."
    return verdict_of(cells[best] == stated), detail


def clean_at_40(claim: Claim, published: Published) -> Result:
    """The unpruned half against Table 2; clean accuracy of a pruned model stands in no table."""
    unpruned, table = Decimal(claim["values"]["unpruned"]), published.clean("chest_xray", "full")
    if unpruned != table:
        return verdict_of(False), f"Unpruned {unpruned} % in the text, {table} % in Table 2."
    detail = f"Unpruned agrees with Table 2 ({table} %); no table prints a clean accuracy after pruning."
    return CANNOT_BE_CHECKED, detail


def afd_clean(claim: Claim, published: Published) -> Result:
    """Full and w/o AFD on ROCT: both values in Table 1, and their difference."""
    full, removed, difference = (Decimal(claim["values"][name]) for name in ("full", "removed", "difference"))
    table_full, table_removed = (published.clean("roct", variant) for variant in ("full", "no_afd"))
    return every(
        [
            (full == table_full, f"full is {full} % in the text, {table_full} % in Table 1"),
            (
                removed == table_removed,
                f"w/o AFD is {removed} % in the text, {table_removed} % in Table 1, where removing AFD changes clean "
                f"accuracy by {table_removed - table_full:+} points; a number of an earlier run would explain it",
            ),
            (full - removed == difference, f"{full} - {removed} = {full - removed}, printed {difference}"),
        ]
    )


def afd_pgd(claim: Claim, published: Published) -> Result:
    """PGD ASR of full and w/o AFD on ROCT in Table 3."""
    full, removed = Decimal(claim["values"]["full"]), Decimal(claim["values"]["removed"])
    table = [published.asr("roct", variant, "pgd", _rate(claim)) for variant in ("full", "no_afd")]
    return every(
        [
            (full == table[0], f"full {full} % in the text, {table[0]} % in Table 3"),
            (removed == table[1], f"w/o AFD {removed} % in the text, {table[1]} % in Table 3"),
        ]
    )


def mfe_jsma(claim: Claim, published: Published) -> Result:
    """MFE is what w/o AFD has and w/o AFD+MFE has not: JSMA ASR of these two in Table 3."""
    before, after = Decimal(claim["values"]["before"]), Decimal(claim["values"]["after"])
    with_mfe, without = (published.asr("roct", v, "jsma", _rate(claim)) for v in ("no_afd", "no_afd_mfe"))
    detail = (
        f"Removing MFE takes w/o AFD ({with_mfe} %) to w/o AFD+MFE ({without} %), {without - with_mfe:+} points, in "
        f"Table 3; the text has {before} to {after} %. {before} % is {_where_asr(published, before)}; "
        f"{after} % is {_where_asr(published, after)}. Another pair of models meant would explain it."
    )
    return verdict_of(before == with_mfe and after == without), detail


def msf_clean(claim: Claim, published: Published) -> Result:
    """MSF is what w/o AFD+MFE has and w/o AFD+MFE+MSF has not: clean accuracy on chest, and the sign."""
    before, after = Decimal(claim["values"]["before"]), Decimal(claim["values"]["after"])
    with_msf, without = (published.clean("chest_xray", v) for v in ("no_afd_mfe", "no_afd_mfe_msf"))
    return every(
        [
            (after < before, f"from {before} to {after} is {after - before:+} points, no drop"),
            (
                with_msf > without,
                f"with MSF (w/o AFD+MFE) {with_msf} %, without (w/o AFD+MFE+MSF) {without} % in Table 2: including MSF "
                f"changes clean accuracy by {with_msf - without:+} points",
            ),
        ]
    )


def minimal_clean(claim: Claim, published: Published) -> Result:
    """w/o AFD+MFE+MSF on chest, Table 2."""
    return _same(claim, published.clean("chest_xray", "no_afd_mfe_msf"))


def baseline_clean(claim: Claim, published: Published) -> Result:
    """ResNet18 on chest, Table 2."""
    return _same(claim, published.clean("chest_xray", "resnet18"))


def _same(claim: Claim, table: Decimal) -> Result:
    stated = Decimal(claim["values"]["accuracy"])
    return verdict_of(stated == table), f"{stated} % in the text, {table} % in Table 2."


def asr_range(claim: Claim, published: Published) -> Result:
    """A bound on ASR printed in a caption or the text, against the pruning rates that Tables 3 and 4 print."""
    bound = next(
        b
        for b in published.figure_claims
        if b["quote"] in claim["quote"] and b["exhibit"] == claim["section"]
    )
    comparisons = []
    for dataset in bound["datasets"]:
        for rate in [rate for rate in RATES if bound["prune"][0] <= rate <= bound["prune"][1]]:
            for attack in bound["attacks"]:
                asr = published.asr(dataset, bound["variant"], attack, rate)
                comparisons.append(
                    (_within(asr, bound), f"{dataset} {attack} at {100 * rate:.0f} % is {asr} %")
                )
    verdict, detail = every(comparisons)
    if verdict != HOLDS:
        detail += (
            " Tables 3 and 4 do not print ε, the captions have 0.05: tables at another ε would explain it."
        )
    return verdict, detail


def _within(asr: Decimal, bound: dict[str, Any]) -> bool:
    if "near" in bound:
        return abs(asr - bound["near"]) <= 1
    low, high = bound["low"], bound["high"]
    if bound["strict"]:
        return (low is None or asr > low) and (high is None or asr < high)
    return (low is None or asr >= low) and (high is None or asr <= high)


def most_for_some(claim: Claim, published: Published) -> Result:
    """Like `asr_range`, for a bound said of most attacks: more than half of the cells."""
    bound = next(
        b
        for b in published.figure_claims
        if b["quote"] in claim["quote"] and b["exhibit"] == claim["section"]
    )
    cells = [
        published.asr(d, bound["variant"], a, rate)
        for d in bound["datasets"]
        for a in bound["attacks"]
        for rate in RATES
    ]
    inside = sum(_within(asr, bound) for asr in cells)
    detail = f"{inside} of {len(cells)} cells of Tables 3 and 4 are above {bound['low']} %."
    return verdict_of(2 * inside > len(cells)), detail


def lowest_asr(claim: Claim, published: Published) -> Result:
    """The two PGD ASR of Table 5 in Tables 3 and 4, and against the other methods' of Table 5."""
    metrics = zip(published.comparison["method"], published.comparison["performance_metric"], strict=True)
    others = [metric for name, metric in metrics if "ASR (PGD)" in metric and not name.startswith("MedDef")]
    lowest = min(Decimal(metric.partition("-")[0]) for metric in others)
    comparisons = []
    for dataset, stated in claim["values"].items():
        cells = [published.asr(dataset, "full", "pgd", rate) for rate in RATES]
        listed = ", ".join(f"{asr} % at {100 * rate:.0f} %" for asr, rate in zip(cells, RATES, strict=True))
        comparisons.append(
            (Decimal(stated) < lowest, f"{stated} % against {lowest} % of other data and models")
        )
        comparisons.append(
            (
                Decimal(stated) in cells,
                f"{stated} % on {dataset} is in no row of the full model's PGD ASR ({listed})",
            )
        )
    verdict, detail = every(comparisons)
    return verdict, f"{detail} An unpruned model, for which no ASR is tabulated, would explain it."


def chen(claim: Claim, published: Published) -> Result:
    """The range quoted from Chen et al. in the text and in Table 5."""
    metric = str(published.comparison.set_index("method").loc["Chen et al.", "performance_metric"])
    low, high = claim["values"]["low"], claim["values"]["high"]
    return verdict_of(metric.startswith(f"{low}-{high}%")), f"Table 5 has {metric}."


CHECKS = {
    "abstract.up-to": up_to,
    "I.chest-peak": clean_at_40,
    "V-E.chest-clean": clean_at_40,
    "III-C1.afd-clean": afd_clean,
    "V-C.afd-clean": afd_clean,
    "III-C1.afd-pgd": afd_pgd,
    "V-C.afd-pgd": afd_pgd,
    "III-C1.mfe-jsma": mfe_jsma,
    "V-C.mfe-jsma": mfe_jsma,
    "III-C1.msf-clean": msf_clean,
    "V-C.msf-clean": msf_clean,
    "V-B.minimal-clean": minimal_clean,
    "V-B.baseline": baseline_clean,
    "fig6.low": asr_range,
    "fig6.bim": asr_range,
    "fig7.range": asr_range,
    "fig8.range": asr_range,
    "fig9.range": asr_range,
    "fig10.below": asr_range,
    "fig10.pgd": asr_range,
    "V-E.baseline": most_for_some,
    "V-E.baseline-bim": asr_range,
    "V-E.below": asr_range,
    "V-E.pgd": asr_range,
    "V-G.lowest": lowest_asr,
    "V-G.chen": chen,
}
