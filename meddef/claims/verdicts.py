"""One verdict a claim over all profiles and readings, and how many claims have each. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meddef.audit.finding import Finding
from meddef.audit.published import Published
from meddef.claims.entries import claims
from meddef.claims.ledger import Judged, judgements, printed_findings, reason, sources
from meddef.claims.model import Claim
from meddef.claims.rules import ABSENT, FAILS, HOLDS
from meddef.report.report import PAPER_DATASETS, Report
from meddef.statistics import FEWEST_TRAININGS, MARGIN_ATTACKED, MARGIN_CLEAN

REPRODUCED, NOT_REPRODUCED, MIXED = "reproduced", "not reproduced", "mixed"
SHOWN_ABSENT, NOT_DECIDED, NOT_TESTED = "shown absent", "open", "not tested"
VERDICTS = (REPRODUCED, MIXED, NOT_REPRODUCED, SHOWN_ABSENT, NOT_DECIDED, NOT_TESTED)
FOLLOWED, DEVIATES, NOT_RECORDED = "followed", "deviates", "not recorded"
UNJUDGED = {
    "picture": "about a picture", "other work": "about other work", "arrangement": "arrangement of the text",
    "printed table": "about the printed table",
}  # fmt: skip
RULE = (
    "A claim is reproduced if all of its comparisons are clear and as it says, or one or more than half of them where "
    "it says no more; a printed value if ours is shown to lie within the margin of it "
    f"({MARGIN_CLEAN:g} points of accuracy without attack, {MARGIN_ATTACKED:g} under attack), a bound if the whole "
    "interval keeps it. It is not reproduced if a comparison is clear and the contrary, or if one difference is shown "
    "to be smaller than the margin while another is as it says; shown absent if a difference that it speaks of is "
    "shown to be smaller than the margin and none is shown; mixed if it holds on one profile and not on another or "
    "depends on the unit of ε; and open otherwise. "
    f"Fewer than {FEWEST_TRAININGS} trainings of a model decide nothing."
)


@dataclass(frozen=True)
class Row:
    """A claim and both verdicts.

    ``measured`` is one of ``VERDICTS``, of a setting followed, deviates or not recorded, else what it is about.
    ``why``: what was not run, where it is not tested.
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
        """How a setting deviates, with the profiles: "epochs 5 (cpu, cpu_patient); epochs 8 (gpu)"."""
        ways: dict[str, list[str]] = {}
        for each in self.judged:
            if each.outcome.verdict != HOLDS:
                ways.setdefault(each.outcome.words.rstrip("."), []).append(each.profile)
        return "; ".join(f"{words} ({', '.join(profiles)})" for words, profiles in ways.items())


def rows(reports: Sequence[Report], published: Published | None = None) -> list[Row]:
    """A row a claim, in the paper's order."""
    found = sources(reports)
    printed = {finding.id: finding for finding in printed_findings(published or Published())}
    return [_row(claim, printed[f"claim:{claim.id}"], judgements(claim, found)) for claim in claims()]


def _row(claim: Claim, printed: Finding, judged: Sequence[Judged]) -> Row:
    if claim.unjudged:
        return Row(claim, printed, UNJUDGED[claim.unjudged], ())
    if claim.is_setting:
        verdicts = {each.outcome.verdict for each in judged}
        measured = NOT_RECORDED if not verdicts else FOLLOWED if verdicts == {HOLDS} else DEVIATES
        return Row(claim, printed, measured, tuple(judged))
    measured = verdict(judged)
    return Row(claim, printed, measured, tuple(judged), "" if judged else _what_to_run(claim))


def verdict(judged: Iterable[Judged]) -> str:
    """Of all profiles: decided ones decide, and where one holds and another does not it is mixed.

    ε in pixels comes first. The other reading makes a verdict mixed where all that was run in it comes to another one.
    """
    found = list(judged)
    first = _over(each.outcome.verdict for each in found if not each.reading)
    other = _over(each.outcome.so_far or each.outcome.verdict for each in found if each.reading)
    decided = (REPRODUCED, NOT_REPRODUCED, SHOWN_ABSENT, MIXED)
    if first in decided and other in decided and (first == REPRODUCED) != (other == REPRODUCED):
        return MIXED
    return first


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
    others: Counter[str]  # about a picture, ...
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
