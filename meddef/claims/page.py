"""The page of claims: one row per claim in the paper's order, verdict first, the numbers folded under it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from meddef.claims.ledger import Judged
from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN, UNDEFINED
from meddef.claims.verdicts import (
    DEVIATES,
    FOLLOWED,
    NOT_DECIDED,
    NOT_REPRODUCED,
    REPRODUCED,
    RULE,
    SHOWN_ABSENT,
    VERDICTS,
    Row,
    Score,
)  # fmt: skip
from meddef.report.display import place

PRINTED = {"holds": "holds", "does_not_hold": "does not hold", "cannot_be_checked": "cannot be checked"}
OUTCOMES = {
    HOLDS: REPRODUCED, FAILS: NOT_REPRODUCED, ABSENT: SHOWN_ABSENT, OPEN: NOT_DECIDED, UNDEFINED: "nothing to compare",
}  # fmt: skip
SETTINGS = {HOLDS: FOLLOWED, FAILS: DEVIATES}
BUILT_SO = OUTCOMES | {HOLDS: "as printed", FAILS: "not as printed"}
HEADS = ("our verdict", "the claim", "the paper's own numbers", "our numbers")


def listing(rows: Iterable[Row]) -> str:
    """All claims as one HTML table."""
    heads = "".join(f'<th class="left" scope="col">{head}</th>' for head in HEADS)
    body = "".join(_row(row) for row in rows)
    return (
        '<div class="meddef-scroll" tabindex="0"><table class="meddef meddef-claims">'
        f"<caption>Every claim and setting of the paper. {RULE}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: Row) -> str:
    claim, name = row.claim, row.claim.id
    below = row.how if row.measured == DEVIATES else row.why
    verdict = row.measured + (f"<br><small>{escape(below)}</small>" if below else "")
    again = f'<br><small>repeats <a href="#claim-{claim.same_as}">{claim.same_as}</a></small>' * bool(
        claim.same_as
    )
    printed = _folded(PRINTED[row.printed.verdict], [escape(row.printed.detail)])
    shown = [judged for judged in row.judged if not judged.reading or _differs(judged, row)]
    measured = _folded(_short(shown, row), [_told(judged, row) for judged in shown]) if shown else "–"
    return (
        f'<tr id="claim-{name}" data-verdict="{row.measured}">'
        f'<td class="left verdict-{_slug(row.measured)}">{verdict}</td>'
        f'<td class="left long">“{escape(claim.quote)}”<br><small>{place(claim.section)}: {escape(claim.about)}</small>'
        f'{again}</td><td class="left verdict-{row.printed.verdict}">{printed}</td>'
        f'<td class="left">{measured}</td></tr>'
    )


def _slug(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _differs(judged: Judged, row: Row) -> bool:
    """Whether another unit of ε comes to something else than pixels, by all that was run in it."""
    so_far = judged.outcome.so_far or judged.outcome.verdict
    pixels = {j.outcome.verdict for j in row.judged if not j.reading and j.profile == judged.profile}
    return so_far != OPEN and so_far not in pixels


def _short(shown: Iterable[Judged], row: Row) -> str:
    """ "64 px, 3 seeds: reproduced; 224 px, 1 seed: open" """
    return "; ".join(f"{_who(judged)}: {_outcome(judged, row)}" for judged in shown)


def _who(judged: Judged) -> str:
    return (judged.run or judged.profile) + (f", ε in {judged.reading} units" if judged.reading else "")


def _outcome(judged: Judged, row: Row) -> str:
    built = row.claim.by_construction
    words = SETTINGS if row.claim.is_setting else BUILT_SO if built else OUTCOMES
    so_far = judged.outcome.so_far
    if judged.reading and so_far and so_far != judged.outcome.verdict:
        return f"{words[so_far]} as far as was run"
    return words.get(judged.outcome.verdict, OUTCOMES[judged.outcome.verdict])


def _told(judged: Judged, row: Row) -> str:
    return f"<b>{escape(judged.images)}: {_outcome(judged, row)}.</b> {escape(judged.outcome.words)}"


def _folded(summary: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<details><summary>{escape(summary)}</summary><ul>{items}</ul></details>"


def in_short(score: Score) -> str:
    """ "Of 125 testable claims 15 are reproduced, ..." as a sentence, settings and others after it."""
    counts = ", ".join(f"{score.testable[name]} {name}" for name in VERDICTS)
    verbs = {DEVIATES: ("deviates", "deviate")}
    settings = ", ".join(
        f"{count} {verbs.get(name, (name, name))[count != 1]}" for name, count in score.settings.most_common()
    )
    others = ", ".join(f"{count} {name}" for name, count in score.others.most_common())
    return (
        f"Of {score.total} testable claims: {counts}. Settings: {settings}. In addition: {others}. {score.repeats} "
        "further sentences repeat one of these and are not counted."
    )
