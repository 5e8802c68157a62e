"""How many of the paper's claims were reproduced, were not, or cannot be judged here. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from meddef.paper import CLAIMS
from meddef.report.claims_judged import CHECKS, VALUE_RULE
from meddef.report.claims_measured import CONTRADICTED, HOLDS, RULE, Judgement
from meddef.report.display import Table, place
from meddef.report.report import PAPER_DATASETS, Report

REPRODUCED, NOT_REPRODUCED, UNJUDGED = "reproduced", "not reproduced", "cannot be judged"
REASONS = {
    "paper": "the printed numbers alone decide it, or it takes images that were not at hand",
    "run": "it takes a run that was not made",
    "figure": "it is about a picture",
    "data": "it is about the image files",
    "external": "it is about other work",
    "setting": "it says how something was done",
}
OPEN_REASON = "the measured difference is not clear"
Judged = dict[str, dict[str, Judgement]]  # claim -> images -> verdict and numbers


def judge_all(reports: Sequence[Report], eps: float) -> Judged:
    """Every claim that runs on the paper's own images can judge."""
    found: Judged = {}
    for report in reports:
        for dataset in report.datasets:
            if dataset.name not in PAPER_DATASETS:
                continue
            known = {check: check(report, dataset, eps) for check in CHECKS.values()}
            for name, check in CHECKS.items():
                if judgement := known[check]:
                    images = f"{dataset.label}{dataset.split}, profile {report.profile}"
                    found.setdefault(name, {})[images] = judgement
    return found


def verdict(judgements: Mapping[str, Judgement]) -> str:
    """Reproduced if it holds on all images that judge it, not reproduced if it fails on some."""
    verdicts = [verdict for verdict, _ in judgements.values()]
    if CONTRADICTED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if verdicts and set(verdicts) == {HOLDS} else UNJUDGED


def score(judged: Judged) -> Counter[str]:
    """Verdict -> claims of the whole ledger."""
    return Counter(verdict(judged.get(claim["id"], {})) for claim in CLAIMS)


def rule() -> str:
    """The rule in full."""
    return (
        f"{RULE} {VALUE_RULE} A claim is reproduced if it holds on all of the paper's images that were run."
    )


def unjudged(judged: Judged) -> Table:
    """Why claims cannot be judged, with counts."""
    reasons: Counter[str] = Counter()
    for claim in CLAIMS:
        if verdict(found := judged.get(claim["id"], {})) == UNJUDGED:
            reasons[OPEN_REASON if found else REASONS[claim["needs"]]] += 1
    frame = pd.DataFrame([{"why": why, "claims": str(count)} for why, count in reasons.most_common()])
    return Table(frame, "Why claims cannot be judged here.")


def listing(judged: Judged) -> Table:
    """Every claim that was judged: its words, the verdict and the numbers behind it."""
    quotes = {claim["id"]: claim for claim in CLAIMS}
    rows = [
        {
            "images": images,
            "the paper": f"{quotes[name]['quote']}\n{place(quotes[name]['section'])}",
            "verdict": judgement[0],
            "measured": judgement[1],
        }
        for name, by_images in judged.items()
        for images, judgement in by_images.items()
    ]
    caption = f"Claims judged by runs on the paper's images. {rule()}"
    return Table(pd.DataFrame(rows), caption, header=2, left=("verdict", "measured"))
