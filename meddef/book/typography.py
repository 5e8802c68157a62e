"""Typography of finished pages: no line break between a number and its unit, and proper minus signs."""

from __future__ import annotations

import re
from pathlib import Path

AS_IT_IS = re.compile(
    r"(<(pre|code|script|style|svg|textarea|title)\b.*?</\2>|<dt class=.sig\b.*?</dt>|<!--.*?-->|<[^>]*>)",
    re.DOTALL,
)
NO_BREAK, MINUS, HYPHEN = "\u00a0", "\u2212", "\u2011"
RULES = (
    (re.compile(r"(?<=\d) (?=%)"), NO_BREAK),
    (re.compile(r"\b([nNKDpρεθγτ]) ([=<≤≥]) (?=[-\d.])"), rf"\1{NO_BREAK}\2{NO_BREAK}"),
    (re.compile(r"(?<=\d) (?=(?:px|pt|MB|GB|TB|min|h|s)\b)"), NO_BREAK),
    (re.compile(r"(\[[-+\d.]+,) (?=[-+\d.]+\])"), rf"\1{NO_BREAK}"),
    (re.compile(r"\b(Fig\.|Figs\.|Table|Section) (?=[\dIV])"), rf"\1{NO_BREAK}"),
    (re.compile(r"(?<=\de)-(?=\d)"), HYPHEN),
    (re.compile(r"(?<![\w.,:/)\]\-–])-(?=\.?\d)"), MINUS),
)


HEADING = re.compile(r"<h([1-4])\b.*?</h\1>", re.DOTALL)
SIGNATURE = re.compile(r"<dl>(\s*(?:<dd><em class=\"sig-param\">.*?</dd>\s*)+)</dl>", re.DOTALL)
PART = re.compile(r"(?<=[a-z])([._])(?=[a-z])")  # between the parts of an identifier


def typeset_pages(folder: Path) -> None:
    """``typeset`` every page under ``folder``, in place."""
    for page in folder.rglob("*.html"):
        text = HEADING.sub(_breakable, typeset(page.read_text(encoding="utf-8")))
        text = SIGNATURE.sub(_lines, text)
        page.write_text(text, encoding="utf-8")


def _breakable(heading: re.Match[str]) -> str:
    """A heading whose identifiers may go on in the next line."""
    return re.sub(r"[^<>]+(?=<)", lambda text: PART.sub(r"\1<wbr>", text[0]), heading[0])


def _lines(signature: re.Match[str]) -> str:
    """A signature of several lines without Sphinx's list of definitions that has no terms."""
    lines = signature[1].replace("<dd>", '<div class="meddef-parameter">').replace("</dd>", "</div>")
    return f"<div>{lines}</div>"


def typeset(html: str) -> str:
    """``html`` with typeset running text; tags, code, scripts and drawings are unchanged."""
    found = []
    place = 0
    for kept in AS_IT_IS.finditer(html):
        found += [_set(html[place : kept.start()]), kept[0]]
        place = kept.end()
    return "".join([*found, _set(html[place:])])


def _set(text: str) -> str:
    for pattern, new in RULES:
        text = pattern.sub(new, text)
    return text
