"""Bare decimals and percentages in the book's prose: numbers typed by hand instead of taken from records."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:[.,]\d+)*(?:\.\d+|\s?%)(?![\w.]*\d)")
NOT_PROSE = (
    re.compile(r"\A---\n.*?\n---\n", re.DOTALL),  # front matter
    re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.DOTALL | re.MULTILINE),  # fenced code and directives' code
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL),  # formulas
    re.compile(r"`[^`\n]+`"),  # commands, settings, file names
    re.compile(r"\]\([^)\s]*\)|https?://\S+"),  # addresses
    re.compile(r"\{\{.*?\}\}"),  # substitutions
    re.compile(r"^:\w[\w-]*:.*$", re.MULTILINE),  # options of directives
)


def prose(text: str) -> str:
    """``text`` without what is not prose; line breaks stay."""
    for pattern in NOT_PROSE:
        text = pattern.sub(lambda found: " " + "\n" * found[0].count("\n"), text)
    return text


def bare_numbers(text: str) -> Iterator[tuple[str, str]]:
    """Each bare decimal or percentage, and the words around it."""
    plain = " ".join(prose(text).split())
    for found in NUMBER.finditer(plain):
        start, end = max(found.start() - 40, 0), found.end() + 40
        yield found[0], plain[start:end]


def pages(root: Path) -> dict[str, str]:
    """File -> its prose: hand-written pages, and the markdown cells of the notebooks."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "book").glob("*.md"))}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
        texts[path.name] = "\n\n".join(cells)
    return texts
