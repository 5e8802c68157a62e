"""The book by the paper's sections: every page below its chapter, evidence in order and titled correctly."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from report_records import provenance, small_run, train_record

from meddef.book import chapters, notebooks
from meddef.book.build import _toc
from meddef.book.pages import as_read, in_order, pages, titles
from meddef.report.report import Report
from meddef.sections import SECTIONS

ROOT = Path(__file__).resolve().parents[1]


def run(
    profile: str,
    images: str = "chest_xray",
    called: str = "",
    more: Sequence[dict[str, Any]] = (),
    **data: Any,
) -> Report:
    """A run under an uninformative name; ``data`` changes its record of the images."""
    records = [{**r, "dataset": called or images} for r in [*small_run(images), *more]]
    records = [{**r, **data} if r["kind"] == "data" else r for r in records]
    return Report(profile, records, provenance())


OCT = {"called": "octdl4", "title": "OCTDL, the four largest classes", "stands_for": "roct"}
RIVAL = [train_record("chest_xray", "resnet18", "trades")]
REPORTS = in_order(
    [
        run("a", "phantom_xray"),
        run("b", **OCT, split_policy="patient"),
        run("c", more=RIVAL),
        run("d", split_policy="patient"),
        run("e"),
        run("f", image_size=224),
        run("g"),
    ]
)
TITLES = {
    "f": "Chest X-Ray, 224 px",
    "e": "Chest X-Ray, 32 px",
    "g": "Chest X-Ray, 32 px (g)",
    "d": "Chest X-Ray, 32 px, split by patient",
    "c": "Chest X-Ray, 32 px, rival trainings",
    "b": "OCTDL (for ROCT), 32 px, split by patient",
    "a": "Phantoms, 32 px",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pages of every section of the reports, except the ablation of one."""
    for report in REPORTS:
        for section in pages(REPORTS)[report.profile]:
            if (report.profile, section) == ("d", "ablation"):
                continue
            stem = SECTIONS[section].notebook
            told = [f"- {dataset.label}: 12.5 %." for dataset in report.datasets]
            output = nbformat.v4.new_output(
                "display_data", {"text/markdown": "\n".join([*told, "- Besides."])}
            )
            opening = nbformat.v4.new_markdown_cell(f"# About {section}\n\n*In the paper: Section V.*")
            cell = nbformat.v4.new_code_cell("conclude()", outputs=[output], metadata={"tags": ["headline"]})
            page = nbformat.v4.new_notebook(cells=[opening, cell])
            path = tmp_path / "book" / "notebooks" / report.profile / f"{stem}.ipynb"
            title = "" if SECTIONS[section].once else report.title
            notebooks._name(page, notebooks.Job(Path(f"{stem}.ipynb"), path, {}, "", title))
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(page, path)
    return tmp_path


def test_evidence_is_called_what_it_is() -> None:
    assert titles(REPORTS) == TITLES
    assert run("mine", called="skin", title="Skin lesions", split_policy="released").title == (
        "Skin lesions, 32 px, split as released"
    )


def test_the_sidebar_has_each_page_once_below_its_section_in_order(root: Path) -> None:
    parts = {part["caption"]: part["chapters"] for part in yaml.safe_load(_toc(root, REPORTS))["parts"]}
    listed = parts[chapters.CAPTION]
    wanted = pages(REPORTS)
    sections = [s for s in SECTIONS if any(s in found for found in wanted.values())]
    assert [chapter["file"].partition("/")[2].rpartition("/")[2] for chapter in listed] == [
        SECTIONS[section].notebook for section in sections
    ]
    below = {c["file"]: [(page["title"], page["file"]) for page in c.get("sections", [])] for c in listed}
    epsilon = [(TITLES[p], f"notebooks/{p}/05_epsilon") for p in TITLES]
    assert below["sections/05_epsilon"] == epsilon
    assert "notebooks/d/04_ablation" not in dict(map(reversed, below["sections/04_ablation"]))  # not made
    made = {
        f.relative_to(root / "book").with_suffix("").as_posix() for f in root.glob("book/notebooks/*/*.ipynb")
    }
    shown = [page for found in below.values() for _, page in found] + [
        f for f in below if f.startswith("note")
    ]
    assert sorted(shown) == sorted(made)


def test_a_chapter_has_a_heading_a_scope_and_a_headline_per_evidence(root: Path) -> None:
    made = chapters.chapter_pages(root, REPORTS)
    assert "02_architecture.md" not in made  # the same whatever the images: its page is the chapter
    text = made["05_epsilon.md"]
    opening, *evidence = text.split("\n## ")
    assert opening == "# About epsilon\n\n*In the paper: Section V.*\n"
    for (profile, title), told in zip(TITLES.items(), evidence, strict=True):
        assert told.startswith(
            f"[{title}](../notebooks/{profile}/05_epsilon.ipynb)\n\n*8 test images, of which "
        )
        assert told.count("12.5 %") == 1
        assert "Besides" not in told


def test_a_page_says_which_evidence_it_is_and_where_the_others_are(root: Path) -> None:
    page = nbformat.read(root / "book" / "notebooks" / "d" / "05_epsilon.ipynb", 4)
    heading, _, link, *_ = page.cells[0].source.split("\n")
    assert heading == "# About epsilon – Chest X-Ray, 32 px, split by patient"
    assert "(../../sections/05_epsilon.md)" in link


def test_a_headline_is_the_first_sentence_on_each_dataset() -> None:
    def page(*texts: str) -> nbformat.NotebookNode:
        outputs = [nbformat.v4.new_output("display_data", {"text/markdown": text}) for text in texts]
        tagged = nbformat.v4.new_code_cell("x", outputs=outputs, metadata={"tags": ["headline"]})
        other = nbformat.v4.new_code_cell("x", outputs=outputs)
        return nbformat.v4.new_notebook(cells=[other, tagged])

    found = page("- One: 1.\n- Of one: 2.\n- Two, n = 8: 3.\n- Two: 4.")
    assert chapters.headline(found, ["One", "Two"]) == "- One: 1.\n- Two, n = 8: 3."
    assert chapters.headline(page("- One, n = 8: 1.\n- One: 2."), ["One"]) == "n = 8: 1."  # under a heading
    assert (
        chapters.headline(page("- One, ε\u00a0=\u00a0.1: 1."), ["One"]) == "ε\u00a0=\u00a0.1: 1."
    )  # no capital epsilon
    assert chapters.headline(page("- One, when so: 1."), ["One"]) == "When so: 1."
    assert chapters.headline(page("Nothing.", "More."), ["One"]) == "Nothing."
    assert chapters.headline(page(), ["One"]) == ""


def test_the_howto_says_which_profile_is_which_evidence() -> None:
    (table,) = chapters.evidence_table(REPORTS).values()
    rows = re.findall(r'scope="row">([^<]*)</th><td class="left">(\w+)<', table.replace("\u00a0", " "))
    assert rows == [(title, profile) for profile, title in TITLES.items()]


def test_evidence_is_read_in_another_order_than_reports_are_weighed() -> None:
    assert [report.profile for report in as_read(REPORTS)] == list(TITLES)
    assert REPORTS[0].profile == "c"  # has trained most


@pytest.mark.parametrize(
    "section", [row for row in SECTIONS.values() if not row.once], ids=lambda row: row.name
)
def test_a_notebook_tells_its_headline_where_it_concludes(section: Any) -> None:
    cells = nbformat.read(ROOT / "notebooks" / f"{section.notebook}.ipynb", 4).cells
    (place,) = (n for n, cell in enumerate(cells) if "headline" in cell.metadata.get("tags", []))
    headings = [cell.source for cell in cells[:place] if cell.source.startswith("## ")]
    assert headings[-1].startswith("## Conclusions")
