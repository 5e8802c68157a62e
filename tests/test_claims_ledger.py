"""The claims ledger holds every number of the paper's prose, or says why not; its entries are well formed."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from paper_text import NUMBER, read_tex, sections

from meddef import paper

KINDS = {"value", "difference", "ordering", "range", "count", "method", "property"}


@pytest.fixture(scope="session")
def text() -> dict[str, str]:
    return sections(read_tex())


def spans(section: str, body: str, entries: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Where the entries' quotes and patterns lie in this section."""
    for entry in entries:
        if entry.get("section", section) != section:
            continue
        pattern = entry.get("pattern") or re.escape(entry["quote"])
        yield from (match.span() for match in re.finditer(pattern, body))


def uncovered_numbers(text: dict[str, str], claims: list[dict[str, Any]]) -> list[str]:
    missing = []
    for section, body in text.items():
        covered = list(spans(section, body, claims + paper.CLAIMS_EXCLUDED["numbers"]))
        for number in NUMBER.finditer(body):
            if not any(start <= number.start() and number.end() <= end for start, end in covered):
                missing.append(f"{section}: …{body[max(0, number.start() - 30) : number.end() + 30]}…")
    return missing


def test_every_number_is_in_the_ledger_or_excluded(text: dict[str, str]) -> None:
    assert uncovered_numbers(text, paper.CLAIMS) == []


def test_a_number_taken_out_of_the_ledger_is_missed(text: dict[str, str]) -> None:
    without = [claim for claim in paper.CLAIMS if claim["id"] != "abstract.up-to"]
    assert [line for line in uncovered_numbers(text, without) if "97.52" in line]


def test_every_quote_stands_in_its_section(text: dict[str, str]) -> None:
    listed = [*paper.CLAIMS, *(e for e in paper.CLAIMS_EXCLUDED["numbers"] if "quote" in e)]
    assert [entry for entry in listed if entry["quote"] not in text[entry["section"]]] == []


def test_entries_are_well_formed() -> None:
    ids = [claim["id"] for claim in paper.CLAIMS]
    assert len(ids) == len(set(ids))
    for claim in paper.CLAIMS:
        assert claim["kind"] in KINDS
        assert claim["id"].split(".")[0] == claim["section"].replace(" ", "-")
        for value in claim.get("values", {}).values():
            assert value in claim["quote"].replace(",", "") or value in {"2", "3", "4"}, claim["id"]
    assert all(entry["reason"] for entry in paper.CLAIMS_EXCLUDED["numbers"])
