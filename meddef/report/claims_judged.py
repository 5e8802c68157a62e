"""More claims of the ledger judged by what was measured: orderings and bounds of Tables 1 to 4 and of the ASR figures.

Each looks at the trained models that a claim speaks of. Differences are paired image by image and corrected for how
many a claim needs; see ``claims_measured.RULE``. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from meddef.paper import CLAIMS, FIGURE_CLAIMS, PROTOCOL
from meddef.records import Record
from meddef.report import claims_measured
from meddef.report.ablation import comparisons
from meddef.report.claims_measured import CONTRADICTED, HOLDS, OPEN, Judgement, judge
from meddef.report.display import in_words
from meddef.report.paired import Effect, corrected, effect
from meddef.report.report import (
    Dataset,
    Report,
    at_epsilon,
    attack_name,
    short_label,
    usual_training,
)

GRADIENT = ("fgsm", "pgd", "bim")
DEFENDED = ("no_afd_mfe_msf", "no_afd_mfe", "no_afd", "full")
GRID = tuple(PROTOCOL["attacks"]["eps_grid"])
MODERATE, PEAK = 0.3, 0.4  # pruning rates that the claims name
Check = Callable[[Report, Dataset, float], Judgement | None]
Seeds = dict[int, Record]
VALUE_RULE = (
    "A printed accuracy holds if it lies in the measured 95 % interval. A printed bound holds if all measured values "
    "lie within it, and does not if the interval of one lies wholly outside."
)


def kept(report: Report, dataset: Dataset, grid: str, variant: str, attack: str, **where: float) -> Seeds:
    """Seed -> the record of a model, trained as in the paper, under ``attack`` where ``where`` holds.

    As it was run: cells of one grid can be compared, for they saw the same images and the same settings.
    """
    return {
        record["seed"]: record
        for record in report.as_run(grid, dataset.name)
        if (record["variant"], record["training"], record["attack"])
        == (variant, usual_training(variant), attack)
        and all(record[name] == value for name, value in where.items())
    }


def every(found: dict[str, Effect | None]) -> Judgement | None:
    """Holds if every difference is clear and positive; does not if one is clear and negative; None where one lacks."""
    known = {name: each for name, each in found.items() if each is not None}
    if not known or len(known) < len(found):
        return None
    judged = {name: judge(each) for name, each in corrected(known).items()}
    clear = {v: sum(each == v for each in judged.values()) for v in (HOLDS, CONTRADICTED)}
    verdict = CONTRADICTED if clear[CONTRADICTED] else HOLDS if clear[HOLDS] == len(judged) else OPEN
    name = min(known, key=lambda key: known[key].value)
    return verdict, (
        f"{clear[HOLDS]} of {len(judged)} differences are clear and as claimed, {clear[CONTRADICTED]} clear and the "
        f"other way; the least in favour: {name}: {known[name].words()}, n = {known[name].n}"
    )


def clean_is_highest(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Accuracy without attack: the full model above every other."""
    full = kept(report, dataset, "test", "full", "clean")
    others = ("resnet18", *DEFENDED[:-1])
    return every(
        {
            f"Full DAAM minus {_name(v)}": effect(
                [(1, full), (-1, kept(report, dataset, "test", v, "clean"))]
            )
            for v in others
        }
    )


def steps_help(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Every component that is added raises accuracy, without attack and under every attack at ``eps``."""
    found = {
        f"{step}, {attack_name(attack)}": each
        for (step, attack), each in comparisons(report, dataset, eps).items()
        if step in ("AFD", "MFE", "MSF")
    }
    return every(dict(found))


def above_baseline(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Every variant above ResNet18 under the gradient attacks at the largest ε of the tables."""
    return every(
        {
            f"{_name(v)}, {attack_name(a)}": effect(
                [
                    (1, _at(report, dataset, v, a, GRID[-1])),
                    (-1, _at(report, dataset, "resnet18", a, GRID[-1])),
                ]
            )
            for v in DEFENDED
            for a in GRADIENT
        }
    )


def falls(variants: Sequence[str]) -> Check:
    """Accuracy falls from the smallest to the largest ε, for every one of ``variants`` and gradient attack."""

    def check(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
        return every(
            {
                f"{_name(v)}, {attack_name(a)}": effect(
                    [(1, _at(report, dataset, v, a, GRID[0])), (-1, _at(report, dataset, v, a, GRID[-1]))]
                )
                for v in variants
                for a in GRADIENT
            }
        )

    return check


def baseline_loses(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """ResNet18 is less accurate under every gradient attack at ``eps`` than without."""
    clean = kept(report, dataset, "epsilon", "resnet18", "clean")
    return every(
        {
            attack_name(a): effect([(1, clean), (-1, _at(report, dataset, "resnet18", a, eps))])
            for a in GRADIENT
        }
    )


def moderate_pruning_helps(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Some variant is clearly more accurate under some gradient attack when pruned moderately than unpruned."""
    found = {
        (v, a): effect(
            [
                (sign, kept(report, dataset, "pruning", v, a, eps=eps, prune_rate=rate))
                for rate, sign in ((MODERATE, 1), (0.0, -1))
            ]
        )
        for v in DEFENDED
        for a in GRADIENT
    }
    known = corrected({key: each for key, each in found.items() if each is not None})
    if not known:
        return None
    judged = [judge(each) for each in known.values()]
    helped, harmed = judged.count(HOLDS), judged.count(CONTRADICTED)
    (variant, attack), most = max(known.items(), key=lambda item: item[1].value)
    return HOLDS if helped else CONTRADICTED if harmed else OPEN, (
        f"accuracy under attack, {100 * MODERATE:.0f} % pruned minus unpruned, is clearly higher in {helped} and "
        f"clearly lower in {harmed} of {len(judged)} cases; the largest gain: {_name(variant)}, {attack_name(attack)}: "
        f"{most.words()}, n = {most.n}"
    )


def pruned_is_more_accurate(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Accuracy of the full model without attack, at the claimed peak against unpruned."""
    pruned, whole = (
        kept(report, dataset, "pruning", "full", "clean", prune_rate=rate) for rate in (PEAK, 0.0)
    )
    found = effect([(1, pruned), (-1, whole)])
    if found is None:
        return None
    words = f"accuracy of Full DAAM, {100 * PEAK:.0f} % pruned minus unpruned: {found.words()}, n = {found.n}"
    return judge(found), words


def printed_accuracy(variant: str, claim: str) -> Check:
    """The accuracy without attack that a claim prints for ``variant`` on Chest X-Ray."""
    value = float(next(c for c in CLAIMS if c["id"] == claim)["values"]["accuracy"])

    def check(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
        frame = report.attacks("test", dataset.name)
        ours = frame[
            (frame["variant"] == variant)
            & (frame["training"] == usual_training(variant))
            & (frame["attack"] == "clean")
        ]
        if dataset.twin != "chest_xray" or ours.empty:
            return None
        row = ours.iloc[0]
        verdict = HOLDS if row["clean_low"] <= value <= row["clean_high"] else CONTRADICTED
        return verdict, f"{_name(variant)}: {in_words(row, 'clean')}, n = {row['n']}"

    return check


def bound(claim: dict[str, object]) -> Check:
    """A bound on ASR against pruning that a caption or the text prints."""

    def check(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
        frame = at_epsilon(report.attacks("pruning", dataset.name), PROTOCOL["attacks"]["pgd"]["eps"])
        ours = frame[
            (frame["variant"] == claim["variant"])
            & (frame["training"] == usual_training(str(claim["variant"])))
            & frame["attack"].isin(claim["attacks"])
            & frame["prune_rate"].between(*claim["prune"])  # type: ignore[misc]
        ].dropna(subset=["asr"])
        return None if ours.empty else within(ours, claim["low"], claim["high"])

    return check


def within(rows: pd.DataFrame, low: object, high: object) -> Judgement:
    """The verdict on a bound in percent, by the values and intervals of ``rows``."""
    least = float("-inf") if low is None else float(low)  # type: ignore[arg-type]
    most = float("inf") if high is None else float(high)  # type: ignore[arg-type]
    outside = int(((rows["asr_high"] < least) | (rows["asr_low"] > most)).sum())
    inside = int(rows["asr"].between(least, most).sum())
    verdict = CONTRADICTED if outside else HOLDS if inside == len(rows) else OPEN
    return verdict, (
        f"ASR {rows['asr'].min():.1f} to {rows['asr'].max():.1f} %; {inside} of {len(rows)} values lie within, "
        f"{outside} have an interval that lies outside"
    )


def _at(report: Report, dataset: Dataset, variant: str, attack: str, eps: float) -> Seeds:
    return kept(report, dataset, "epsilon", variant, attack, eps=eps)


def _name(variant: str) -> str:
    return short_label(variant, usual_training(variant))


def _bounds() -> dict[str, Check]:
    """Claim -> check, of the claims that print a bound; "most attacks" is none."""
    found = {}
    for claim in CLAIMS:
        for printed in FIGURE_CLAIMS:
            same = printed["exhibit"] == claim["section"] and printed["quote"] in claim["quote"]
            if same and "most" not in printed["quote"] and (printed["low"], printed["high"]) != (None, None):
                found[claim["id"]] = bound(printed)
    return found


CHECKS: dict[str, Check] = {
    **claims_measured.CHECKS,
    "I.enhance": claims_measured.defended_is_more_accurate,
    "I.chest-peak": pruned_is_more_accurate,
    "I.moderate": moderate_pruning_helps,
    "V-B.highest-clean": clean_is_highest,
    "V-B.progressive": steps_help,
    "V-B.minimal-clean": printed_accuracy("no_afd_mfe_msf", "V-B.minimal-clean"),
    "V-B.baseline": printed_accuracy("resnet18", "V-B.baseline"),
    "V-B.baseline-attacks": baseline_loses,
    "V-C.baseline-degrades": falls(["resnet18"]),
    "V-C.moderate": moderate_pruning_helps,
    "V-D.degrades": falls(["resnet18", *DEFENDED]),
    "V-D.strong": above_baseline,
    "V-E.chest-clean": pruned_is_more_accurate,
    "V-E.chest-peak": pruned_is_more_accurate,
    "V-F.chest-peak": pruned_is_more_accurate,
    "V-F.moderate": moderate_pruning_helps,
    **_bounds(),
}
