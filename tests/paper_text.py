"""The paper's LaTeX as plain text by section, for tests that look for numbers and claims in it."""

import os
import re
from pathlib import Path

import pytest

NUMBER = re.compile(
    r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?|\b(?:two|three|four|five|six|seven|eight|nine|ten)\b", re.I
)
SENTENCE_END = re.compile(r"(?<=[.;:])(?<!\bvs\.)(?<!\bal\.)(?<!\bFig\.)\s+(?!\d)")
HEADING_WORDS = 6
LAYOUT = (
    r"\\(?:label|cite|bibliographystyle|bibliography|url|includegraphics|setlength|renewcommand|pdfbookmark)"
    r"(?:\[[^\]]*\])?(?:\{(?:[^{}]|\{[^{}]*\})*\})+"
)


def read_tex() -> str:
    """The LaTeX named by MEDDEF_PAPER_TEX; skips the test without it."""
    path = os.environ.get("MEDDEF_PAPER_TEX")
    if not path:
        pytest.skip("set MEDDEF_PAPER_TEX to the paper's LaTeX source to compare against it")
    return Path(path).read_text(encoding="utf-8")


def plain(latex: str) -> str:
    """LaTeX to running text: no layout, citations or tables (those are data); references become [ref].

    Only whole-line comments are dropped: V-H holds unescaped percent signs after which LaTeX would drop
    the rest of the paragraph, but the words are in the source and their numbers belong to the ledger.
    """
    text = re.sub(r"(?m)^\s*%.*$", "", latex).replace(r"\%", "%")
    text = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", " ", text, flags=re.S)
    text = re.sub(r"\\ref\{[^}]*\}", "[ref]", text)
    text = re.sub(LAYOUT, " ", text)
    text = re.sub(r"\\(?:begin|end)\{[^}]*\}(?:\[[^\]]*\]|\{[^}]*\})*", " ", text)
    text = re.sub(r"\\(?:textbf|IEEEmembership|IEEEPARstart|centerline)\{([^{}]*)\}", r"\1", text)
    text = text.replace(r"$\varepsilon$", "ε").replace(r"$\leq$", "≤").replace("$<$", "<")
    text = re.sub(r"\\times", "×", text)
    text = re.sub(r"\\[a-zA-Z]+\*?|\\.|[{}$~]", " ", text)
    return re.sub(r"\s+([,.;:)])", r"\1", re.sub(r"\s+", " ", text)).strip()


ROMAN = ["", "I", "II", "III", "IV", "V", "VI", "VII"]
HEADING = re.compile(r"\\(section|subsection|subsubsection)(\*?)\{([^}]*)\}")
FLOAT = re.compile(r"\\begin\{(figure|table)\*?\}.*?\\end\{\1\*?\}", re.S)


def sections(tex: str) -> dict[str, str]:
    """Plain text by place: section numbers as IEEEtran prints them, fig1..., table1... for captions.

    Starred sections become their title in lower case; the abstract is "abstract". Floats are taken out of the
    section that holds them.
    """
    body = tex[tex.index(r"\begin{abstract}") : tex.index(r"\bibliographystyle")]
    found: dict[str, str] = {}

    def take(match: re.Match[str]) -> str:
        kind = "fig" if match[1] == "figure" else "table"
        number = sum(name.startswith(kind) for name in found) + 1
        found[f"{kind}{number}"] = plain(match[0])
        return " "

    body = FLOAT.sub(take, body)
    counters, name, start = [0, 0, 0], "abstract", 0
    for heading in HEADING.finditer(body):
        found[name] = plain(body[start : heading.start()])
        start = heading.end()
        if heading[2]:
            name = heading[3].lower()
            continue
        level = ["section", "subsection", "subsubsection"].index(heading[1])
        counters = [*counters[:level], counters[level] + 1, *[0] * (2 - level)]
        name = ROMAN[counters[0]]
        if level:
            name += "-" + chr(64 + counters[1])
        if level == 2:
            name += str(counters[2])
    found[name] = plain(body[start:])
    return found


def sentences(body: str) -> list[tuple[int, int]]:
    """Start and end of every sentence: up to a full stop, a semicolon or a colon. No character is left out.

    Six words or fewer before a colon are a heading, which belongs to what follows.
    """
    found, start = [], 0
    for end in SENTENCE_END.finditer(body):
        heading = body[end.start() - 1] == ":" and len(body[start : end.start()].split()) <= HEADING_WORDS
        if not heading:
            found.append((start, end.start()))
            start = end.end()
    return [*found, (start, len(body))] if start < len(body) else found
