"""The book by the paper's sections: one chapter each, with all its evidence.

A chapter's page has a line or two per evidence, taken from the conclusions of its page; the pages are listed below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode

from meddef.book.notebooks import BEHIND_HEADING, chapter_link
from meddef.book.pages import as_read, pages, titles
from meddef.report.display import Table
from meddef.report.in_markdown import in_markdown
from meddef.report.report import Report
from meddef.report.scope import PHANTOM_NOTE, in_short
from meddef.sections import SECTIONS

FOLDER = "sections"
HEADLINE = "headline"  # the tag of the cell whose first sentence on each dataset the chapter shows
CAPTION = "The paper, section by section"
SYMBOL = re.compile(r"\w\s*=")  # "n = 8", "ε = .1": a sentence that begins with a symbol keeps it as it is


def executed(root: Path, reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Every section that has a page, in order, with its evidence."""
    wanted = pages(reports)
    found = {
        section: [
            r for r in as_read(reports) if section in wanted[r.profile] and _page(root, r, section).is_file()
        ]
        for section in SECTIONS
    }
    return {section: evidence for section, evidence in found.items() if evidence}


def _page(root: Path, report: Report, section: str) -> Path:
    return root / "book" / "notebooks" / report.profile / f"{SECTIONS[section].notebook}.ipynb"


def chapter_pages(root: Path, reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/sections/``; none for a section that does not depend on the images."""
    names = titles(reports)
    return {
        f"{SECTIONS[section].notebook}.md": _chapter(root, section, evidence, names)
        for section, evidence in executed(root, reports).items()
        if not SECTIONS[section].once
    }


def _chapter(root: Path, section: str, evidence: Sequence[Report], names: Mapping[str, str]) -> str:
    notebooks = [nbformat.read(_page(root, report, section), 4) for report in evidence]
    parts = [_opening(notebooks[0], section, in_markdown(evidence[0].title))]
    for report, notebook in zip(evidence, notebooks, strict=True):
        address = f"../notebooks/{report.profile}/{SECTIONS[section].notebook}.ipynb"
        parts += [
            f"## [{in_markdown(names[report.profile])}]({address})",
            f"*{in_short(report)}*",
            headline(notebook, [dataset.words for dataset in report.datasets]),
        ]
    if any(dataset.stands_in for report in evidence for dataset in report.datasets):
        parts.append(PHANTOM_NOTE)
    return "\n\n".join(filter(None, parts)) + "\n"


def _opening(notebook: NotebookNode, section: str, title: str) -> str:
    """Heading and introduction of a page, without the title of its evidence."""
    first = notebook.cells[0]
    if first.cell_type != "markdown":
        return f"# {section}"
    heading, _, introduction = first.source.partition("\n")
    introduction = introduction.replace(chapter_link(SECTIONS[section].notebook), "").strip()
    return f"{heading.removesuffix(BEHIND_HEADING + title)}\n\n{introduction}".strip()


def headline(notebook: NotebookNode, labels: Sequence[str]) -> str:
    """The first sentence on each dataset printed by cells tagged "headline", otherwise their first sentence."""
    lines = [
        line
        for cell in notebook.cells
        if HEADLINE in cell.metadata.get("tags", [])
        for output in cell.outputs
        for line in output.get("data", {}).get("text/markdown", "").splitlines()
        if line.strip()
    ]
    firsts = [next((line for line in lines if line.startswith(f"- {label}")), "") for label in labels]
    if len(firsts) == 1 and firsts[0]:  # the heading names it
        text = firsts[0].removeprefix(f"- {labels[0]}").lstrip(":, ")
        return text if SYMBOL.match(text) else text[:1].upper() + text[1:]
    return "\n".join(filter(None, firsts)) or "\n".join(lines[:1])


def toc(root: Path, reports: Sequence[Report]) -> dict[str, Any]:
    """The part of the table of contents: one chapter per section, with one page per evidence."""
    names = titles(reports)
    chapters: list[dict[str, Any]] = []
    for section, evidence in executed(root, reports).items():
        files = {
            report.profile: f"notebooks/{report.profile}/{SECTIONS[section].notebook}" for report in evidence
        }
        if SECTIONS[section].once:
            chapters += [{"file": file} for file in files.values()]
            continue
        below = [{"file": file, "title": names[profile]} for profile, file in files.items()]
        chapters.append({"file": f"{FOLDER}/{SECTIONS[section].notebook}", "sections": below})
    return {"caption": CAPTION, "chapters": chapters}


def evidence_table(reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: the profile behind each evidence."""
    names = titles(reports)
    rows = [
        {"evidence": names[r.profile], "profile": r.profile, "measured on": in_short(r, str)}
        for r in as_read(reports)
    ]
    table = Table(pd.DataFrame(rows), "All evidence in this book.", left=("profile", "measured on"))
    return {"evidence.md": f"{table._repr_html_()}\n"}
