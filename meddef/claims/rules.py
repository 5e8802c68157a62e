"""From many comparisons to one verdict and one sentence. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "fails", "absent", "open", "undefined"]
HOLDS: Verdict = "holds"  # as claimed
FAILS: Verdict = "fails"  # the contrary
ABSENT: Verdict = "absent"  # shown to be smaller than the margin of equivalence
OPEN: Verdict = "open"  # neither shown
UNDEFINED: Verdict = "undefined"  # nothing to judge: the floor, or a model with one answer for everything
SHOWN = 4
DECIDED = (HOLDS, FAILS, ABSENT)


@dataclass(frozen=True)
class Outcome:
    """What one comparison, one check or one claim came to, and the numbers of it in words."""

    verdict: Verdict
    words: str


def combine(rule: str, outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict of a check by those of its comparisons; undefined ones are left out.

    every: fails if one fails, holds if all hold, is absent if one is, else open. some: holds if one holds; fails if none
    can any more, absent if all are; else open. most: more than half hold, or more than half do not.
    """
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict != UNDEFINED]
    if not verdicts:
        return UNDEFINED
    held, refuted = verdicts.count(HOLDS), verdicts.count(FAILS) + verdicts.count(ABSENT)
    total = len(verdicts)
    not_so = ABSENT if FAILS not in verdicts else FAILS
    if rule == "every":
        return not_so if refuted else HOLDS if held == total else OPEN
    if rule == "some":
        return HOLDS if held else not_so if refuted == total else OPEN
    return HOLDS if 2 * held > total else not_so if 2 * refuted >= total else OPEN


NAMES: dict[Verdict, tuple[str, str]] = {
    FAILS: ("not so", "not so"),
    ABSENT: ("smaller than the margin", "smaller than the margin"),
    OPEN: ("open", "open"),
    UNDEFINED: ("left out", "left out"),
}


def told(rule: str, outcomes: Sequence[Outcome]) -> str:
    """How many hold, and some of those that do not, with their numbers; of ``some``, those that do."""
    held = [outcome.words for outcome in outcomes if outcome.verdict == HOLDS]
    judged = sum(outcome.verdict != UNDEFINED for outcome in outcomes)
    text = f"{len(held)} of {judged} comparisons hold"
    if held and (rule == "some" or len(held) == judged):
        text += f", as {_some(held)}" if rule == "some" else ""
    for verdict, (name, _) in NAMES.items():
        words = [outcome.words for outcome in outcomes if outcome.verdict == verdict]
        if words and not (rule == "some" and held and verdict != UNDEFINED):
            text += f"; {name}: {_some(words)}"
    return f"{text}."


def _some(words: Sequence[str]) -> str:
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more
