"""Every sentence of the paper holds a claim or a setting of the ledger, or is excluded with a reason."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from paper_text import read_tex, sections, sentences

from meddef import paper

REASONS = {
    "motivation", "other work", "definition", "method", "announces", "exhibit", "explanation", "outlook", "empty",
    "heading",
}  # fmt: skip
OUT_OF_SCOPE = {"acknowledgment"}
FEW_WORDS = 6

Claims = list[dict[str, Any]]
Excluded = dict[str, dict[str, list[str]]]  # section -> reason -> words of sentences
EXCLUDED: Excluded = paper.CLAIMS_EXCLUDED["sentences"]


@pytest.fixture(scope="session")
def text() -> dict[str, str]:
    return {name: body for name, body in sections(read_tex()).items() if name not in OUT_OF_SCOPE}


def excluded_in(section: str, excluded: Excluded) -> Iterator[tuple[str, str]]:
    """Reason and words of every exclusion."""
    for reason, quotes in excluded.get(section, {}).items():
        yield from ((reason, quote) for quote in quotes)


def holds(body: str, quote: str, sentence: tuple[int, int]) -> bool:
    """Whether an occurrence of the quote lies at least partly in the sentence."""
    start, end = sentence
    return quote in body[max(0, start - len(quote) + 1) : end + len(quote) - 1]


def faults(text: dict[str, str], claims: Claims, excluded: Excluded) -> list[str]:
    """Sentences that nothing accounts for, and exclusions that exclude nothing, too much or what is claimed."""
    found = [f"{section}: no such place" for section in excluded if section not in text]
    for section, body in text.items():
        quotes = [claim["quote"] for claim in claims if claim["section"] == section]
        free = [s for s in sentences(body) if not any(holds(body, quote, s) for quote in quotes)]
        for start, end in free:
            if not any(quote in body[start:end] for _, quote in excluded_in(section, excluded)):
                found.append(f"{section}: not in the ledger: {body[start:end]}")
        for _, quote in excluded_in(section, excluded):
            if body.count(quote) != 1:
                found.append(f"{section}: stands {body.count(quote)} times: {quote}")
            elif not any(quote in body[start:end] for start, end in free):
                found.append(f"{section}: excluded, but a claim is there: {quote}")
    return found


def unknown_reasons(claims: Claims, excluded: Excluded) -> list[str]:
    """Reasons that are neither in the list nor "repeats" and a claim of the ledger."""
    known = REASONS | {f"repeats {claim['id']}" for claim in claims}
    return [
        f"{section}: {reason}" for section in excluded for reason in excluded[section] if reason not in known
    ]


def false_twins(claims: Claims) -> list[str]:
    """Claims whose `same_as` is no other claim, says another one again itself, or is of another kind.

    "At 20-40 %" and "falls" may be one claim, so ordering and range are of one kind here.
    """

    def kind(claim: dict[str, Any]) -> str:
        return {"range": "ordering"}.get(claim["kind"], claim["kind"])

    by_id = {claim["id"]: claim for claim in claims}
    found = []
    for claim in claims:
        if (name := claim.get("same_as")) is None:
            continue
        twin = by_id.get(name)
        if twin is None or twin is claim or "same_as" in twin or kind(twin) != kind(claim):
            found.append(claim["id"])
    return found


def test_every_sentence_is_in_the_ledger_or_excluded(text: dict[str, str]) -> None:
    assert faults(text, paper.CLAIMS, EXCLUDED) == []


def test_sentences_leave_nothing_out(text: dict[str, str]) -> None:
    for body in text.values():
        assert " ".join(body[start:end] for start, end in sentences(body)) == body
    assert sum(len(sentences(body)) for body in text.values()) > 300


def test_sentences_by_hand() -> None:
    body = "AFD Impact: It falls vs. before, as Chen et al. (2020) say; see Fig. [ref]. (1) More: none. 97.5% are left"
    assert [body[start:end] for start, end in sentences(body)] == [
        "AFD Impact: It falls vs. before, as Chen et al. (2020) say;",
        "see Fig. [ref].",
        "(1) More: none. 97.5% are left",
    ]


@pytest.mark.parametrize(
    "taken",
    [
        "V-C.fundamental",
        "V-H.exceptional",
        "III-B1.augmentation",
        "code-availability.reproduced",
        "VI-A.surfaces",
        "fig13.improvement",
        "I.overhead I.moderate",
        "V-B.cumulative",
    ],
)
def test_a_claim_taken_out_is_missed(text: dict[str, str], taken: str) -> None:
    without = [claim for claim in paper.CLAIMS if claim["id"] not in taken.split()]
    quotes = [claim["quote"] for claim in paper.CLAIMS if claim["id"] in taken.split()]
    (missed,) = faults(text, without, EXCLUDED)
    assert "not in the ledger" in missed
    assert all(quote in missed for quote in quotes)


def test_an_exclusion_taken_out_is_missed(text: dict[str, str]) -> None:
    without = deepcopy(EXCLUDED)
    without["V-H"]["explanation"].remove("This minimal error pattern")
    (missed,) = faults(text, paper.CLAIMS, without)
    assert "V-H: not in the ledger: This minimal error pattern" in missed


@pytest.mark.parametrize(
    ("section", "words", "fault"),
    [
        ("V-C", "words that are not printed", "stands 0 times"),
        ("V-C", "The ablation study reveals", "stands 2 times"),
        ("V-C", "rather than merely shifting", "a claim is there"),
        ("V-Z", "anything", "no such place"),
    ],
)
def test_a_stale_exclusion_is_an_error(text: dict[str, str], section: str, words: str, fault: str) -> None:
    more = deepcopy(EXCLUDED)
    more.setdefault(section, {}).setdefault("announces", []).append(words)
    (found,) = faults(text, paper.CLAIMS, more)
    assert fault in found


def test_reasons_are_of_the_list() -> None:
    assert unknown_reasons(paper.CLAIMS, EXCLUDED) == []
    assert unknown_reasons([], {"V": {"obvious": ["x"]}}) == ["V: obvious"]
    assert unknown_reasons(paper.CLAIMS, {"V": {"repeats V.none": ["x"]}}) == ["V: repeats V.none"]


def test_exclusions_are_a_few_words() -> None:
    long = [
        quote
        for name in EXCLUDED
        for _, quote in excluded_in(name, EXCLUDED)
        if len(quote.split()) > FEW_WORDS
    ]
    assert long == []


def test_restated_claims_point_to_one_that_restates_none() -> None:
    assert false_twins(paper.CLAIMS) == []
    assert len(paper.distinct(paper.CLAIMS)) == len({c.get("same_as", c["id"]) for c in paper.CLAIMS})


@pytest.mark.parametrize("same_as", ["V.none", "V-C.all-rates", "V-B.all-rates", "V.eps"])
def test_a_false_twin_is_noticed(same_as: str) -> None:
    """No claim; one that restates another; itself; one of another kind."""
    planted = [c | {"same_as": same_as} if c["id"] == "V-B.all-rates" else c for c in paper.CLAIMS]
    assert "V-B.all-rates" in false_twins(planted)
