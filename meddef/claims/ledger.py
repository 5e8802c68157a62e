"""The ledger judged from both sides: by the paper's own numbers and by measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meddef.claims import facts_bench, facts_measured, facts_printed, probed
from meddef.claims.cells import Cell, Comparison, Contrast, Level, comparisons
from meddef.claims.entries import claims, load
from meddef.claims.index import STANDARDISED
from meddef.claims.measured import Measured
from meddef.claims.model import Claim, Fact, Probe, Setting
from meddef.claims.printed import Printed
from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN, Outcome, combine, told
from meddef.claims.settings import SETTINGS
from meddef.printed.finding import CANNOT_BE_CHECKED, DOES_NOT_HOLD, Finding
from meddef.printed.finding import HOLDS as FINDING_HOLDS
from meddef.printed.finding import Verdict as FindingVerdict
from meddef.printed.published import Published
from meddef.report.report import PAPER_DATASETS, Report

ON_FINDINGS: Mapping[str, FindingVerdict] = {
    HOLDS: FINDING_HOLDS, FAILS: DOES_NOT_HOLD, ABSENT: DOES_NOT_HOLD,
}  # fmt: skip
NOT_PRINTED = "no printed number bears on it"


@dataclass(frozen=True)
class Judged:
    """A claim by one profile's images, at ε as printed or in ``reading``, or by a benchmark (profile "bench").

    ``dataset``: the paper's, where it is of one; ``run``: what tells it from others, "64 px, 3 seeds".
    """

    images: str
    profile: str
    reading: str
    outcome: Outcome
    dataset: str = ""
    run: str = ""


def by_printed(claim: Claim, published: Published) -> Outcome | None:
    """The claim by the paper's numbers; None where they do not bear on it."""
    source, found, lacking = Printed(published), [], False
    for check in claim.check:
        if check.only in ("measured", "rivals") or isinstance(check, Probe):
            continue
        if isinstance(check, Fact | Setting):
            name = check.fact if isinstance(check, Fact) else check.setting
            function = facts_printed.FACTS.get(name)
            outcome = function(published, check.given) if function else None
        else:
            outcomes = [outcome for outcome in source.judge(comparisons(check)) if outcome]
            outcome = _checked(check.rule, outcomes)
        found += [outcome] if outcome else []
        lacking |= outcome is None
    return _together(found, lacking)


def by_measured(claim: Claim, source: Measured) -> Outcome | None:
    """The claim by one profile's records of one dataset; None where they do not bear on it."""
    found, lacking = [], False
    for check in claim.check:
        if check.only == "printed" or _of_bench(check):
            continue
        if check.only == "rivals" and not source.report.has_rivals:
            continue
        if isinstance(check, Setting):
            outcome = SETTINGS[check.setting](source.report, source.dataset, check.given)
        elif isinstance(check, Probe):
            outcome = _checked(check.rule, probed.judge(source, check))
        elif isinstance(check, Fact):
            function = facts_measured.FACTS.get(check.fact)
            outcome = function(source, check.given) if function else None
        else:
            named = _of_dataset(comparisons(check), source.dataset.name)
            wanted = [
                c for c in named if not (source.reading and _of_jsma(c))
            ]  # it has no ε to read otherwise
            if not wanted:
                continue
            outcome = _measured(check.rule, wanted, source, len(named))
        found += [outcome] if outcome else []
        lacking |= outcome is None
    return _together(found, lacking)


def by_bench(claim: Claim, report: Report) -> Judged | None:
    """The parts of the claim judged by a benchmark, independently of profiles; None without such parts or benchmark."""
    words, rows = facts_bench.pruned(report)
    facts = [c for c in claim.check if isinstance(c, Fact) and _of_bench(c)]
    outcomes = [facts_bench.FACTS[check.fact](rows, check.given) for check in facts]
    outcome = _together([o for o in outcomes if o], lacking=None in outcomes)
    return Judged(words, facts_bench.BENCH, "", outcome, run=facts_bench.BENCH) if outcome else None


def _of_bench(check: object) -> bool:
    return isinstance(check, Fact) and check.fact in facts_bench.FACTS


def _measured(rule: str, wanted: Sequence[Comparison], source: Measured, terms: int) -> Outcome | None:
    """A check holds only if each of its subjects was measured under some attack; ``terms``: as many as it names."""
    judged = source.judge(wanted, terms)
    outcome = _checked(rule, [outcome for outcome in judged if outcome])
    if outcome is None:
        return None
    words = outcome.words
    if any(isinstance(c, Contrast) and any(cell.metric == "asr" for _, cell in c.terms) for c in wanted):
        words += " In robust accuracy, on the same images."
    subjects = {c: _subject(c) for c in wanted if not _of_jsma(c)} or {c: _subject(c) for c in wanted}
    seen = {subjects[c] for c, o in zip(wanted, judged, strict=True) if o and c in subjects}
    not_run = len(set(subjects.values()) - seen)
    if not not_run:
        return Outcome(outcome.verdict, words)
    may_change = {"every": (HOLDS,), "some": (FAILS, ABSENT), "most": (HOLDS, FAILS, ABSENT)}[rule]
    verdict = OPEN if outcome.verdict in may_change else outcome.verdict
    words = f"{words} Not run: {not_run} of {not_run + len(seen)} conditions."
    return Outcome(verdict, words, so_far=outcome.verdict)


def _cells(comparison: Comparison) -> list[Cell]:
    return [c for _, c in comparison.terms] if isinstance(comparison, Contrast) else [comparison.cell]


def _of_jsma(comparison: Comparison) -> bool:
    return any(cell.attack == "jsma" for cell in _cells(comparison))


def _subject(comparison: Comparison) -> tuple[Any, ...]:
    """The subject of a comparison, regardless of the attack."""
    return tuple((c.dataset, c.model, c.metric, c.eps, c.rate, c.label) for c in _cells(comparison))


def _of_dataset(found: Iterable[Comparison], dataset: str) -> list[Comparison]:
    """The comparisons on a dataset, each once; for JSMA, which has no ε, those at several ε are merged and trends
    dropped."""
    kept: dict[Comparison, Comparison] = {}
    for comparison in found:
        if any(cell.dataset != dataset for cell in _cells(comparison)):
            continue
        if not _of_jsma(comparison):
            kept[comparison] = comparison
            continue
        if isinstance(comparison, Level):
            same: Comparison = replace(comparison, cell=_without_eps(comparison.cell), words="")
        else:
            terms = tuple((sign, _without_eps(cell)) for sign, cell in comparison.terms)
            if len({cell for _, cell in terms}) < len(terms):
                continue
            start = _without_eps(comparison.start) if comparison.start else None
            same = replace(comparison, terms=terms, start=start, words="")
        kept.setdefault(same, comparison)
    return list(kept.values())


def _without_eps(cell: Cell) -> Cell:
    return replace(cell, eps=0.0) if cell.attack == "jsma" else cell


def _checked(rule: str, outcomes: Sequence[Outcome]) -> Outcome | None:
    if not outcomes:
        return None
    return Outcome(combine(rule, outcomes), told(rule, outcomes))


def _together(found: Sequence[Outcome], lacking: bool) -> Outcome | None:
    """Checks of one claim: all must hold, and none may be lacking."""
    if not found:
        return None
    verdict = combine("every", found)
    words = " ".join(_sentence(o.words) for o in found)
    partly = lacking or any(o.so_far for o in found)
    so_far = combine("every", [Outcome(o.so_far or o.verdict, "") for o in found]) if partly else None
    if lacking and verdict == HOLDS:
        return Outcome(OPEN, f"{words} Another part of the claim is open.", so_far=so_far)
    return Outcome(verdict, words, so_far=so_far)


def _sentence(words: str) -> str:
    first = words[:1].upper() if words[:1].isascii() else words[:1]
    return f"{first}{words[1:].rstrip('.')}."


def printed_findings(published: Published) -> Iterator[Finding]:
    """One finding for each claim, in the order of the ledger."""
    for claim in load(published.claims):
        outcome = by_printed(claim, published)
        verdict = ON_FINDINGS.get(outcome.verdict, CANNOT_BE_CHECKED) if outcome else CANNOT_BE_CHECKED
        detail = outcome.words if outcome else f"{claim.about}: {reason(claim)}."
        if claim.note and verdict != FINDING_HOLDS:
            detail += f" {claim.note}"
        yield Finding(f"claim:{claim.id}", "claim", claim.section, claim.quote, None, verdict, detail)


def decides(name: str) -> Callable[..., Any]:
    """The judge of a claim by the printed numbers: a function of ``facts_printed`` if there is one, else
    ``Printed``."""
    known = {claim.id: claim for claim in claims()}
    for check in known[name].check if name in known else ():
        called = (
            check.fact if isinstance(check, Fact) else check.setting if isinstance(check, Setting) else ""
        )
        if called in facts_printed.FACTS:
            return facts_printed.FACTS[called]
    return Printed


UNJUDGED = {
    "picture": "it concerns a figure that is not in the LaTeX source",
    "other work": "it concerns other work or external files",
    "arrangement": "it concerns the organisation of the paper or method",
    "printed table": "it concerns the printed table itself, which no run can judge",
}


def reason(claim: Claim) -> str:
    """Why no printed number decides a claim."""
    if claim.is_setting:
        return "it describes a procedure; the paper prints nothing to compare it with"
    return UNJUDGED.get(claim.unjudged or "", NOT_PRINTED)


def drawn(reports: Iterable[Report]) -> list[Measured]:
    """Every profile on every dataset of phantoms, which judge nothing."""
    return [
        Measured(report, dataset) for report in reports for dataset in report.datasets if dataset.is_drawn
    ]


def on_phantoms(claim: Claim, found: Sequence[Measured]) -> list[Judged]:
    """Phantom results for a claim about lesions: never a verdict, since the claim is not about phantoms."""
    kept = []
    for source in found if claim.on_phantoms else ():
        if outcome := by_measured(claim, source):
            words = f"Phantoms do not decide; on them: {outcome.words}"
            kept.append(
                Judged(source.images, source.report.profile, "", Outcome(OPEN, words), "", source.run)
            )
    return kept


def sources(reports: Iterable[Report]) -> list[Measured]:
    """Every profile on every dataset of the paper, ε in both units. Stand-ins are none."""
    return [
        Measured(report, dataset, reading)
        for report in reports
        for dataset in report.datasets
        if dataset.name in PAPER_DATASETS
        for reading in ("", STANDARDISED)
    ]


def judgements(claim: Claim, found: Sequence[Measured]) -> list[Judged]:
    """The claim by each source that has something of it; in standardised units only where an ε was run in them."""
    kept = []
    for source in found:
        if source.reading and not _run_in_reading(claim, source):
            continue
        outcome = by_measured(claim, source)
        if outcome:
            kept.append(
                Judged(
                    source.images,
                    source.report.profile,
                    source.reading,
                    outcome,
                    source.dataset.name,
                    source.run,
                )
            )
    timed = (by_bench(claim, source.report) for source in found)
    kept += [each for each in timed if each][:1]
    return kept


def _run_in_reading(claim: Claim, source: Measured) -> bool:
    """Whether a comparison at an ε, which JSMA has none of, was run at that ε in the unit of the source."""
    compared = [c for c in claim.check if not isinstance(c, Fact | Probe | Setting) and c.only != "printed"]
    of_dataset = [_of_dataset(comparisons(check), source.dataset.name) for check in compared]
    return any(
        any(_without_eps(cell).eps for cell in cells) and all(map(source.at, cells))
        for cells in (_cells(comparison) for found in of_dataset for comparison in found)
    )
