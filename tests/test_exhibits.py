"""The index of exhibits: complete against the LaTeX, true to the notebooks, and honest about what is missing."""

import re
from pathlib import Path

import nbformat
import pytest
from paper_text import FLOAT, read_tex
from report_records import provenance, small_run

from meddef.book import exhibits
from meddef.book.notebooks import SECTIONS
from meddef.paper import EXHIBITS
from meddef.report.report import Report

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = {"real": list(SECTIONS), "drawn": list(SECTIONS)}


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [
        Report("real", small_run("chest_xray"), provenance()),
        Report("drawn", small_run("phantom_oct"), provenance()),
    ]


@pytest.fixture(scope="module")
def rows(reports: list[Report]) -> dict[str, str]:
    page = exhibits.exhibits_page(reports, EVERYTHING)["exhibits.md"]
    return dict(re.findall(r'<tr id="(\w+)">(.*?)</tr>', page))


def test_the_index_lists_every_float_and_subfigure_of_the_latex_in_order(rows: dict[str, str]) -> None:
    wanted, counts = [], {"figure": 0, "table": 0}
    for found in FLOAT.finditer(re.sub(r"(?m)^\s*%.*$", "", read_tex())):
        counts[found[1]] += 1
        name = f"{'fig' if found[1] == 'figure' else 'table'}{counts[found[1]]}"
        parts = found[0].count(r"\begin{subfigure}")
        wanted += [name, *(f"{name}{letter}" for letter in "abcdefgh"[:parts])]
    assert sorted(rows) == sorted(wanted)
    assert [name for name in rows if name.startswith("fig")] == [n for n in wanted if n.startswith("fig")]


def test_every_row_has_a_twin_or_says_what_to_run(rows: dict[str, str]) -> None:
    assert list(rows) == [exhibit["id"] for exhibit in EXHIBITS]
    for name, row in rows.items():
        assert 'href="notebooks/' in row or "<code>meddef reproduce" in row, name
    assert 'notebooks/drawn/05_epsilon.html#published-and-measured-values">Phantoms' in rows["table1"]
    assert "ROCT: not computed on the paper's own images" in rows["table1"]
    assert "meddef reproduce --profile paper --only epsilon --data-dir DATA" in rows["table1"]
    assert "cards.html#roct" in rows["table1"]
    assert (
        'notebooks/real/05_epsilon.html#published-and-measured-values">Chest X-Ray, 32 px</a>'
        in rows["table2"]
    )
    assert "not made" not in rows["table2"]
    assert "images of patients are not shown" in rows["fig1b"]
    assert "Chest X-Ray, 32 px</a>: the mean map of each class" in rows["fig17"]
    assert "mean map" not in rows["fig16"]  # phantoms are pictured


def test_a_page_that_was_not_made_has_no_link(reports: list[Report]) -> None:
    page = exhibits.exhibits_page(reports, {"real": ["data"], "drawn": []})["exhibits.md"]
    assert set(re.findall(r'href="(notebooks/[^"#]+)', page)) == {"notebooks/real/01_data.html"}


def test_both_ways_agree(reports: list[Report]) -> None:
    pages = exhibits.exhibits_page(reports, EVERYTHING)
    there = {
        (name, page)
        for name, row in re.findall(r'<tr id="(\w+)">(.*?)</tr>', pages["exhibits.md"])
        for page in re.findall(r'href="(notebooks/[^"#]+)', row)
    }
    back = {
        (name, re.findall(r'href="(notebooks/[^"#]+)', row)[0])
        for row in re.findall(r"<tr><th.*?</tr>", pages["exhibit_pages.md"])[0:]
        for name in re.findall(r'href="#(\w+)"', row)
    }
    assert there == back
    assert len(there) > 20


@pytest.mark.parametrize("section", list(exhibits.SECTION_OF))
def test_notebooks_hold_the_headings_and_name_their_exhibits(section: str) -> None:
    cells = nbformat.read(ROOT / "notebooks" / f"{SECTIONS[section]}.ipynb", 4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"(?m)^## (.*)$", text)
    ours = [e for e in EXHIBITS if exhibits.section_of(e) == section]
    assert {exhibits.heading_of(exhibit) for exhibit in ours} <= set(headings)
    line = re.search(r"\*In the paper: (.*)\.\*", cells[0].source)
    assert line
    spans = re.findall(r"(Fig\.|Table) (\d+)(?: to Fig\. (\d+))?", line[1])
    named = {
        f"{'fig' if kind == 'Fig.' else 'table'}{number}"
        for kind, first, last in spans
        for number in range(int(first), int(last or first) + 1)
    }
    assert named == set(exhibits.SECTION_OF[section])
