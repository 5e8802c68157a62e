"""One verdict per claim over all profiles and readings, and how many claims have each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meddef.claims.entries import claims
from meddef.claims.facts_bench import BENCH
from meddef.claims.ledger import Judged, drawn, judgements, on_phantoms, printed_findings, reason, sources
from meddef.claims.model import Claim
from meddef.claims.rules import ABSENT, FAILS, HOLDS
from meddef.printed.finding import Finding
from meddef.printed.published import Published
from meddef.report.report import PAPER_DATASETS, Report
from meddef.statistics import FEWEST_TRAININGS, MARGIN_ATTACKED, MARGIN_CLEAN

REPRODUCED, NOT_REPRODUCED, MIXED = "reproduced", "not reproduced", "mixed"
SHOWN_ABSENT, NOT_DECIDED, NOT_TESTED = "shown absent", "open", "not tested"
VERDICTS = (REPRODUCED, MIXED, NOT_REPRODUCED, SHOWN_ABSENT, NOT_DECIDED, NOT_TESTED)
FOLLOWED, DEVIATES, NOT_RECORDED = "followed", "deviates", "not recorded"
BY_CONSTRUCTION = "by construction"
BUILT = "Built into the companion, which can neither confirm nor refute it."
UNJUDGED = {
    "picture": "about a figure", "other work": "about other work", "arrangement": "about the arrangement of the text",
    "printed table": "about the printed table",
}  # fmt: skip
RULE = (
    f"A comparison requires {FEWEST_TRAININGS} trainings of each model. Difference: holds if significant (5 %, Holm) "
    "and in the claimed direction; for “maintains”, if the loss is shown to be less than the margin; for “stable”, "
    f"if the change is (margin: {MARGIN_CLEAN:g} points of clean, {MARGIN_ATTACKED:g} of robust accuracy). "
    "Bound: holds if the whole interval (Bonferroni over the conditions of the claim) lies within it, and fails if "
    "all of it lies outside. Printed value: holds if equal within the margin, and fails if significantly different, "
    "in a two-sample test with the paper's number of images, at the paper's image size. All comparisons of a claim "
    "must hold, one for “can”, more than half for “most”. A claim is shown absent only if all its differences are "
    "shown to be smaller than the margin; not reproduced if a comparison is significant in the opposite direction, or "
    "some hold and others are shown absent; mixed if profiles, or the two units of ε, disagree; otherwise open."
)


@dataclass(frozen=True)
class Row:
    """A claim and both verdicts.

    ``measured`` is one of ``VERDICTS``, of a setting followed, deviates or not recorded, else what it is about.
    ``why``: what was not run, where it is not tested, or why it is open or by construction.
    """

    claim: Claim
    printed: Finding
    measured: str
    judged: tuple[Judged, ...]
    why: str = ""

    @property
    def is_testable(self) -> bool:
        """Whether a run could tell it right or wrong."""
        return self.measured in VERDICTS

    @property
    def how(self) -> str:
        """How a setting deviates, with the profiles: "epochs 5 (64 px, 3 seeds); epochs 8 (224 px, 1 seed)"."""
        ways: dict[str, list[str]] = {}
        for each in self.judged:
            if each.outcome.verdict != HOLDS:
                ways.setdefault(each.outcome.words.rstrip("."), []).append(each.run or each.profile)
        return "; ".join(f"{words} ({'; '.join(profiles)})" for words, profiles in ways.items())


def rows(reports: Sequence[Report], published: Published | None = None) -> list[Row]:
    """One row per claim, in the paper's order."""
    found, phantoms = sources(reports), drawn(reports)
    printed = {finding.id: finding for finding in printed_findings(published or Published())}
    return [
        _row(claim, printed[f"claim:{claim.id}"], [*judgements(claim, found), *on_phantoms(claim, phantoms)])
        for claim in claims()
    ]


def _row(claim: Claim, printed: Finding, judged: Sequence[Judged]) -> Row:
    if claim.unjudged:
        return Row(claim, printed, UNJUDGED[claim.unjudged], ())
    if claim.is_setting:
        verdicts = {each.outcome.verdict for each in judged}
        measured = NOT_RECORDED if not verdicts else FOLLOWED if verdicts == {HOLDS} else DEVIATES
        return Row(claim, printed, measured, tuple(judged))
    if claim.by_construction and judged:
        return Row(claim, printed, BY_CONSTRUCTION, tuple(judged), BUILT)
    measured, why = verdict(judged), "" if judged else _what_to_run(claim)
    if claim.both_datasets and measured == REPRODUCED and (not_run := _not_run(judged)):
        measured, why = NOT_DECIDED, f"{not_run} not run"
    if claim.on_phantoms and measured == NOT_DECIDED:
        why = "lesions are known only for phantoms"
    return Row(claim, printed, measured, tuple(judged), why)


def _not_run(judged: Iterable[Judged]) -> str:
    """The paper's datasets that none of these is of, in words."""
    seen = {each.dataset for each in judged}
    return " and ".join(label for name, label in PAPER_DATASETS.items() if name not in seen)


def verdict(judged: Sequence[Judged]) -> str:
    """Of all profiles: decided ones decide, and where one holds and another does not it is mixed.

    ε in pixels comes first. The other reading makes a verdict mixed where all conditions of the claim were run in it
    and it comes to another one.
    """
    found = [each for each in judged if each.profile != BENCH]
    timed = [each.outcome.verdict for each in judged if each.profile == BENCH]
    if timed and found:  # parts of one claim
        return _both(verdict(found), _over(timed))
    if timed:
        return _over(timed)
    first = _over(each.outcome.verdict for each in found if not each.reading)
    other = _over(o.verdict for o in (each.outcome for each in found if each.reading) if o.so_far is None)
    decided = (REPRODUCED, NOT_REPRODUCED, SHOWN_ABSENT, MIXED)
    if first in decided and other in decided and (first == REPRODUCED) != (other == REPRODUCED):
        return MIXED
    return first


def _both(first: str, second: str) -> str:
    """Two parts of a claim: reproduced if both are, not so if one is not so."""
    if first == second or second == REPRODUCED:
        return first
    if first == REPRODUCED:
        return second
    refuted = (NOT_REPRODUCED, SHOWN_ABSENT, MIXED)
    named = [each for each in refuted if each in (first, second)]
    return named[0] if named else NOT_DECIDED


def _over(verdicts: Iterable[str]) -> str:
    found = set(verdicts)
    held, refuted = HOLDS in found, bool({FAILS, ABSENT} & found)
    if held and refuted:
        return MIXED
    if held or refuted:
        return REPRODUCED if held else NOT_REPRODUCED if FAILS in found else SHOWN_ABSENT
    return NOT_DECIDED if found else NOT_TESTED


def _what_to_run(claim: Claim) -> str:
    if claim.run:
        return claim.run
    of = {name for check in claim.check for name in _datasets(check)}
    lacking = [PAPER_DATASETS[name] for name in PAPER_DATASETS if name in of]
    return f"a run on {' or '.join(lacking)}" if lacking else "a run"


def _datasets(check: object) -> Iterable[str]:
    """The datasets that a check is about."""
    given = getattr(check, "given", {})
    if "dataset" in given:
        return [given["dataset"]]
    values = getattr(check, "values", None)
    return [value.dataset for value in values] if values else getattr(check, "datasets", ())


@dataclass(frozen=True)
class Score:
    """How many distinct claims have each verdict; those that repeat another one are not counted."""

    testable: Counter[str]  # by VERDICTS
    settings: Counter[str]  # followed, deviates, not recorded
    others: Counter[str]  # about a figure, ...
    repeats: int
    printed: Counter[str]  # verdicts of the findings, of all distinct claims

    @property
    def total(self) -> int:
        """Distinct testable claims."""
        return sum(self.testable.values())


def score(found: Iterable[Row]) -> Score:
    """Counts over rows."""
    every = list(found)
    once = [row for row in every if row.claim.same_as is None]
    return Score(
        testable=Counter(row.measured for row in once if row.is_testable),
        settings=Counter(row.measured for row in once if row.claim.is_setting),
        others=Counter(row.measured for row in once if not row.is_testable and not row.claim.is_setting),
        repeats=len(every) - len(once),
        printed=Counter(row.printed.verdict for row in once),
    )


__all__ = ["RULE", "VERDICTS", "Row", "Score", "reason", "rows", "score", "verdict"]
