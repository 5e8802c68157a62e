"""Claims of the ledger that no printed number decides, judged by what was measured here. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from meddef.paper import CLAIMS
from meddef.records import Record
from meddef.report.ablation import comparisons
from meddef.report.controls import ATTACK, TRAINING, effects
from meddef.report.display import Table, place
from meddef.report.paired import Effect, effect
from meddef.report.report import Dataset, Report, attack_name

HOLDS, CONTRADICTED, OPEN = "holds here", "does not hold here", "not shown here"
RULE = (
    "A claim holds here if the difference that it speaks of is clear (three trainings or more, and p below 0.05, "
    "corrected where several are looked at) and has the sign that it says; it does not hold if the difference is clear "
    "and has the other sign."
)
Judgement = tuple[str, str]  # verdict, the numbers


def judge(found: Effect) -> str:
    """By ``RULE``, for a claim that says the difference is positive."""
    if not found.is_clear:
        return OPEN
    return HOLDS if found.value > 0 else CONTRADICTED


def defended_is_more_accurate(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Accuracy without attack: the full model, trained adversarially, against ResNet18, trained cleanly."""
    trained: Mapping[tuple[str, str], dict[int, Record]] = {
        ("full", "adversarial"): {},
        ("resnet18", "clean"): {},
    }
    for record in report.grid("test", dataset.name):
        trained.get((record["variant"], record["training"]), {})[record["seed"]] = record
    defended, plain = trained.values()
    found = effect([(1, defended), (-1, plain)])
    if found is None:
        return None
    return judge(found), f"accuracy without attack, Full DAAM minus ResNet18: {found.words()}, n = {found.n}"


def training_helps(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Accuracy under PGD: the full model, trained adversarially against cleanly."""
    found = effects(report, dataset, eps).get((ATTACK, eps), {}).get(TRAINING["full"])
    if found is None:
        return None
    return judge(found), (
        f"accuracy of Full DAAM under {attack_name(ATTACK)} at ε = {eps:g}, adversarial minus clean training: "
        f"{found.words()}, n = {found.n}"
    )


def every_component_helps(report: Report, dataset: Dataset, eps: float) -> Judgement | None:
    """Each component has a condition, without attack or under one, in which it clearly helps."""
    verdicts: dict[str, set[str]] = {}
    for (step, _), found in comparisons(report, dataset, eps).items():
        if step in ("AFD", "MFE", "MSF"):
            verdicts.setdefault(step, set()).add(judge(found))
    if len(verdicts) < 3:
        return None
    helping = [step for step, judged in verdicts.items() if HOLDS in judged]
    harming = [step for step, judged in verdicts.items() if CONTRADICTED in judged]
    verdict = HOLDS if len(helping) == len(verdicts) else CONTRADICTED if harming else OPEN
    return verdict, (
        f"components with a clear gain without attack or under any attack at ε = {eps:g}: "
        f"{', '.join(helping) or 'none'}; with a clear loss: {', '.join(harming) or 'none'}"
    )


CHECKS: dict[str, Callable[[Report, Dataset, float], Judgement | None]] = {
    "III-C.expense": defended_is_more_accurate,
    "III-C3.enhance": defended_is_more_accurate,
    "III-B2.significantly": training_helps,
    "V-B.essential": every_component_helps,
}


def table(
    reports: Iterable[Report],
    eps: float,
    checks: Mapping[str, Callable[[Report, Dataset, float], Judgement | None]] = CHECKS,
) -> Table:
    """A row a dataset and claim, of those that the records can judge."""
    quotes = {claim["id"]: claim for claim in CLAIMS}
    rows = [
        {
            "images": f"{dataset.label}{dataset.split}",
            "the paper": f"{quotes[name]['quote']}\n{place(quotes[name]['section'])}",
            "verdict": judged[0],
            "measured": judged[1],
        }
        for report in reports
        for dataset in report.datasets
        for name, check in checks.items()
        if (judged := check(report, dataset, eps))
    ]
    caption = f"Claims that no number of the paper decides, judged by these runs. {RULE}"
    return Table(pd.DataFrame(rows), caption, header=2, left=("verdict", "measured"))
