"""From comparisons to a verdict, and from verdicts of several profiles to one: every case by hand."""

import pytest

from meddef.claims.ledger import Judged
from meddef.claims.rules import (
    ABSENT,
    FAILS,
    HOLDS,
    OPEN,
    UNDEFINED,
    Outcome,
    Verdict,
    combine,
    counted,
    told,
)
from meddef.claims.verdicts import (
    MIXED,
    NOT_DECIDED,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    SHOWN_ABSENT,
    verdict,
)

H, F, A, N, U = HOLDS, FAILS, ABSENT, OPEN, UNDEFINED  # N: not shown


@pytest.mark.parametrize(
    ("rule", "verdicts", "expected"),
    [
        ("every", [H, H], H),
        ("every", [H, N], N),
        ("every", [H, F, N], F),
        ("every", [H, A, N], F),  # one cell without the difference, another with it: not so of every one
        ("every", [A, N], N),  # that one is small shows nothing of the other
        ("every", [A, A], A),
        ("every", [A, U], A),
        ("every", [A, F], F),
        ("every", [H, U], H),
        ("every", [U, U], U),
        ("every", [], U),
        ("some", [F, F, H], H),
        ("some", [F, N], N),
        ("some", [F, A], F),
        ("some", [A, A], A),
        ("some", [A, U], A),
        ("most", [H, H, F], H),
        ("most", [H, F], F),
        ("most", [H, H, N, N, F], N),
        ("most", [A, A, H], F),
        ("most", [A, A, N], F),
        ("most", [A, A], A),
    ],
)
def test_rules(rule: str, verdicts: list[Verdict], expected: Verdict) -> None:
    assert combine(rule, [Outcome(v, "") for v in verdicts]) == expected


def judged(*profiles: Verdict, reading: Verdict | None = None, so_far: Verdict | None = None) -> list[Judged]:
    found = [Judged("", f"p{i}", "", Outcome(v, "")) for i, v in enumerate(profiles)]
    if reading:
        found.append(Judged("", "p0", "standardised", Outcome(reading, "", so_far=so_far)))
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (judged(), NOT_TESTED),
        (judged(H), REPRODUCED),
        (judged(H, N), REPRODUCED),  # a profile that decides nothing takes nothing away
        (judged(F, N), NOT_REPRODUCED),
        (judged(A, N), SHOWN_ABSENT),
        (judged(A, F), NOT_REPRODUCED),
        (judged(H, F), MIXED),
        (judged(H, A), MIXED),
        (judged(N, N), NOT_DECIDED),
        (judged(U), NOT_DECIDED),
        (judged(F, reading=H), MIXED),
        (judged(H, reading=F), MIXED),
        (judged(F, reading=F), NOT_REPRODUCED),
        (judged(F, reading=A), NOT_REPRODUCED),
        (judged(N, reading=H), NOT_DECIDED),  # ε is in pixels unless that is decided
        (judged(F, reading=N), NOT_REPRODUCED),
        (judged(F, reading=N, so_far=H), NOT_REPRODUCED),  # some of it was not run in that reading
        (judged(H, reading=F, so_far=F), REPRODUCED),
    ],
)
def test_one_verdict_over_profiles_and_readings(found: list[Judged], expected: str) -> None:
    assert verdict(found) == expected


def test_a_sentence_counts_and_shows_the_least_in_favour_first() -> None:
    outcomes = [Outcome(H, "b", 2), Outcome(H, "a", 1), Outcome(F, "c", -1), Outcome(U, "d")]
    assert told("every", outcomes) == "2 of 3 comparisons hold; not so: c; left out: d."
    assert told("every", outcomes[:2]) == "2 of 2 comparisons hold, as a; b."
    assert told("some", outcomes) == "2 of 3 comparisons hold, as b; a; left out: d."
    many = [Outcome(N, str(i), i) for i in range(6)]
    assert told("every", many) == "0 of 6 comparisons hold; open: 0; 1; 2; 3; and 2 more."


def test_one_is_one() -> None:
    assert counted(1, "epoch") == "1 epoch"
    assert counted(8, "epoch") == "8 epochs"
    assert told("every", [Outcome(F, "c")]) == "0 of 1 comparison holds; not so: c."
    assert told("every", [Outcome(H, "c")]) == "1 of 1 comparison holds, as c."
