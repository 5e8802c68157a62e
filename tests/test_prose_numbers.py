"""No number of the book's prose is typed by hand: measured ones come from records, printed ones from quotes."""

import re
from pathlib import Path

import pytest
from prose import bare_numbers, pages

from meddef.statistics import CONFIDENCE

ROOT = Path(__file__).resolve().parents[1]
LEVEL = f"{100 * CONFIDENCE:.0f}"
ALLOWED = {
    # words around the number -> why it may stand in prose
    rf"\b{LEVEL} % (Wilson|interval|percentile|confidence|for the stated)": "the level of all intervals, a definition",
    rf"at {LEVEL} %": "the level of all intervals, a definition",
    r"\(TOST, Schuirmann 1987\) at 5 %": "the level of all tests, a definition",
    r"where the 90 % interval lies": "the level of the interval that two tests at that level make",
    r"no model exceeds 5 %": "the floor, a definition (tests.test_null holds it against the code)",
}


def typed(text: str) -> list[str]:
    """The words around each bare number that nothing allows."""
    found = bare_numbers(text)
    return [words for _, words in found if not any(re.search(pattern, words) for pattern in ALLOWED)]


@pytest.mark.parametrize("page", pages(ROOT))
def test_no_page_holds_a_number_typed_by_hand(page: str) -> None:
    assert typed(pages(ROOT)[page]) == [], "take it from records or the protocol: a code cell, or _generated/"


def test_every_exclusion_is_used() -> None:
    words = [context for text in pages(ROOT).values() for _, context in bare_numbers(text)]
    assert [p for p in ALLOWED if not any(re.search(p, context) for context in words)] == []


@pytest.mark.parametrize(
    "text",
    [
        "The full model keeps 62.0 of its accuracy.",
        "It falls to 12 % under PGD.",
        "- **93.5%** of images",
        "accuracy −4.5 points",
        "in a table | 0.35 | too",
    ],
)
def test_the_check_sees_a_typed_number(text: str) -> None:
    assert len(typed(f"# A page\n\nSome words.\n\n{text}\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "with a 95 % interval",
        "```bash\nmeddef book --parameter eps=0.1\n```",
        "`eps=0.05` and $x = 0.5$ and $$\n0.25\n$$",
        "[a paper](https://arxiv.org/abs/1610.02391) of version v1.2, Python 3",
        "between 3 and 12 of 40 images, in 2017",
        ":alt: 95.5 words",
    ],
)
def test_the_check_lets_pass_what_is_no_result(text: str) -> None:
    assert typed(f"# A page\n\n{text}\n") == []
