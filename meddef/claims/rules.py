"""From many comparisons to one verdict and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "fails", "absent", "open", "undefined"]
HOLDS: Verdict = "holds"  # as claimed
FAILS: Verdict = "fails"  # the contrary
ABSENT: Verdict = "absent"  # shown to be smaller than the margin of equivalence
OPEN: Verdict = "open"  # neither shown
UNDEFINED: Verdict = "undefined"  # nothing to judge: the floor, or a constant model
SHOWN = 4
DECIDED = (HOLDS, FAILS, ABSENT)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a comparison, check or claim, with its numbers in words.

    ``favour``: how far it speaks for the claim, in points, so that the least comes first in a sentence. ``so_far``: the
    verdict of what was run, where some of what the claim names was not; None where all was.
    """

    verdict: Verdict
    words: str
    favour: float = 0.0
    so_far: Verdict | None = None


def combine(rule: str, outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict of a check by those of its comparisons; undefined ones are left out.

    every: holds if all hold; fails if one fails, or is absent where another holds, so that it is not so of every one;
    absent only if all are; else open, as where one is absent beside an open one. some: holds if one holds, is absent
    if all are, fails if none can hold, else open. most: holds if more than half do, is absent if all are, fails if at
    least half do not hold, else open.
    """
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict != UNDEFINED]
    if not verdicts:
        return UNDEFINED
    held, refuted = verdicts.count(HOLDS), verdicts.count(FAILS) + verdicts.count(ABSENT)
    total = len(verdicts)
    if verdicts.count(ABSENT) == total:
        return ABSENT
    if rule == "every":
        return FAILS if FAILS in verdicts or (held and refuted) else HOLDS if held == total else OPEN
    if rule == "some":
        return HOLDS if held else FAILS if refuted == total else OPEN
    return HOLDS if 2 * held > total else FAILS if 2 * refuted >= total else OPEN


NAMES: dict[Verdict, str] = {
    FAILS: "not so", ABSENT: "smaller than the margin", OPEN: "open", UNDEFINED: "left out",
}  # fmt: skip


def told(rule: str, outcomes: Sequence[Outcome]) -> str:
    """How many hold, and some of those that do not, with their numbers; of ``some``, those that do."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.favour)
    groups = {v: [o.words for o in ordered if o.verdict == v] for v in (HOLDS, *NAMES)}
    held, judged = groups[HOLDS], len(outcomes) - len(groups[UNDEFINED])
    text = f"{len(held)} of {counted(judged, 'comparison')} hold{'s' * (1 in (len(held), judged))}"
    if held and (rule == "some" or len(held) == judged):
        text += f", as {_some(held[::-1] if rule == 'some' else held)}"
    for verdict, name in NAMES.items():
        if groups[verdict] and not (rule == "some" and held and verdict != UNDEFINED):
            text += f"; {name}: {_some(groups[verdict])}"
    return f"{text}."


def counted(number: int, word: str) -> str:
    """ "1 epoch", "8 epochs" """
    return f"{number} {word}{'' if number == 1 else 's'}"


def _some(words: Sequence[str]) -> str:
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more
