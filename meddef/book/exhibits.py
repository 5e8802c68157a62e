"""The index of the paper's exhibits: each figure, subfigure and table with its counterparts in the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from docutils.nodes import make_id

from meddef.book.notebooks import SECTIONS
from meddef.book.pages import titles
from meddef.catalogue import usual_training
from meddef.paper import EXHIBITS, PROTOCOL
from meddef.report.display import place
from meddef.report.report import PAPER_DATASETS, Dataset, Report
from meddef.sections import SECTIONS as ROWS

Exhibit = dict[str, Any]
SECTION_OF = {
    "data": ("fig1", "fig5"),
    "architecture": ("fig2",),
    "training": ("fig3",),
    "epsilon": ("table1", "table2"),
    "pruning": ("fig4", "fig6", "fig7", "fig8", "fig9", "fig10", "table3", "table4"),
    "comparison": ("table5",),
    "confusion": ("fig11", "fig12", "fig13", "fig14", "fig15"),
    "saliency": ("fig16", "fig17"),
}
HEADINGS = {
    # section, or section and dataset -> the heading of its counterpart in the notebook
    "confusion roct": "Measured: ROCT or its stand-in",
    "confusion chest_xray": "Measured: Chest X-Ray or its stand-in",
    "saliency": "Measured",
}
PUBLISHED = "Published and measured values"
PICTURES = ("fig1", "fig16", "fig17")  # of the images themselves
_KEEPS = {"pruning": "pruning", "confusion": "test", "epsilon": "epsilon"}  # section -> its grid of attacks
Executed = Mapping[str, Sequence[str]]  # profile -> sections that have a page


def section_of(exhibit: Exhibit) -> str:
    """The section of the book with the exhibit's counterpart."""
    return next(section for section, ids in SECTION_OF.items() if _whole(exhibit) in ids)


def heading_of(exhibit: Exhibit) -> str:
    """The heading of the counterpart in that section's notebook."""
    section = section_of(exhibit)
    dataset = exhibit.get("dataset", "roct")
    return HEADINGS.get(f"{section} {dataset}", HEADINGS.get(section, PUBLISHED))


def link_of(exhibit: Exhibit, profile: str) -> str:
    """Address of the counterpart in the built book, relative to its root."""
    return f"notebooks/{profile}/{SECTIONS[section_of(exhibit)]}.html#{make_id(heading_of(exhibit))}"


def _whole(exhibit: Exhibit) -> str:
    """Of a subfigure, its figure: "fig6"; of any other exhibit, itself."""
    return exhibit["id"].rstrip("ab")


def name_of(exhibit: Exhibit) -> str:
    """As the paper counts: "Fig. 6", "Fig. 6 (a)", "Table 1"."""
    name = place(_whole(exhibit))
    return f"{name}\u00a0({exhibit['id'][-1]})" if exhibit["kind"] == "subfigure" else name


def twins(
    exhibit: Exhibit, reports: Sequence[Report], executed: Executed
) -> list[tuple[Report, list[Dataset]]]:
    """Every profile whose pages show the exhibit's counterpart, with its datasets."""
    section = section_of(exhibit)
    shown = [
        (report, [dataset for dataset in report.datasets if _shows(report, dataset, exhibit)])
        for report in reports
        if section in executed.get(report.profile, ())
    ]
    return [(report, datasets) for report, datasets in shown if datasets]


def _shows(report: Report, dataset: Dataset, exhibit: Exhibit) -> bool:
    if exhibit.get("dataset") not in (None, dataset.twin):
        return False
    if _whole(exhibit) == "fig1":
        return dataset.is_drawn  # images of patients are not shown
    section = section_of(exhibit)
    if section == "saliency":
        return bool(report.of("saliency", dataset.name))
    if section in _KEEPS and (variant := exhibit.get("variant")):
        model = variant, usual_training(variant)
        records = report.grid(_KEEPS[section], dataset.name)
        return any((record["variant"], record["training"]) == model for record in records)
    return True


def absence(exhibit: Exhibit, found: list[tuple[Report, list[Dataset]]]) -> str:
    """Why there is no counterpart on the paper's own images, and how to compute one; empty where it exists.

    For a figure with a counterpart and subfigures, the subfigures say it.
    """
    has_parts = any(other["id"] == f"{exhibit['id']}a" for other in EXHIBITS)
    if section_of(exhibit) == "architecture" or (found and has_parts):
        return ""
    wanted = [exhibit["dataset"]] if "dataset" in exhibit else list(PAPER_DATASETS)
    have = {dataset.name for _, datasets in found for dataset in datasets}
    return "<br>".join(_why(exhibit, name) for name in wanted if name not in have)


def _why(exhibit: Exhibit, name: str) -> str:
    section, title = section_of(exhibit), PAPER_DATASETS[name]
    images = f'<a href="cards.html#{make_id(name)}">images</a>'
    if _whole(exhibit) in PICTURES:
        own = f"{images}, once downloaded, can be viewed as files"
        if section == "saliency":
            own = (
                '<a href="api.html#meddef.saliency.grad_cam">grad_cam</a> computes the map of your own image'
            )
        command = f"<code>meddef reproduce --profile smoke --only {section}</code>"
        return f"{title}: images of patients are not shown, phantoms replace them ({command}); {own}"
    command = f"<code>meddef reproduce --profile paper --only {section} --data-dir DATA</code>"
    return f"{title}: not computed on the paper's own images. With {images}: {command}"


def exhibits_page(reports: Sequence[Report], executed: Executed) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: exhibit -> pages, and page -> exhibits."""
    names = titles(reports)
    rows = "".join(_row(exhibit, reports, executed, names) for exhibit in EXHIBITS)
    pages = [
        (report, section, named, _called(section, names[report.profile]))
        for section in SECTION_OF
        for report in reports
        if (named := [e for e in EXHIBITS if (section_of(e) == section) and _has(e, report, executed)])
    ]
    back = "".join(_page_row(*page) for page in pages)
    return {
        "exhibits.md": _table(("exhibit", "caption", "counterparts"), rows, "From the paper to this book."),
        "exhibit_pages.md": _table(("page", "exhibits"), back, "From this book to the paper."),
    }


def _has(exhibit: Exhibit, report: Report, executed: Executed) -> bool:
    return bool(twins(exhibit, [report], executed))


def _row(exhibit: Exhibit, reports: Sequence[Report], executed: Executed, names: Mapping[str, str]) -> str:
    found = twins(exhibit, reports, executed)
    called = [escape(_called(section_of(exhibit), names[report.profile])) for report, _ in found]
    lines = [
        f'<a href="{link_of(exhibit, report.profile)}">{title}</a>{_instead(exhibit, report)}'
        for title, (report, _) in zip(called, found, strict=True)
    ]
    if note := absence(exhibit, found):
        lines.append(f"<small>{note}</small>")
    section = exhibit["section"]
    title = escape(PROTOCOL["sections"][section])
    return (
        f'<tr id="{exhibit["id"]}"><th class="left" scope="row">{name_of(exhibit)}</th>'
        f'<td class="left">{escape(exhibit["caption"])}<br><small>{place(section)}, {title}</small></td>'
        f'<td class="left">{"<br>".join(lines)}</td></tr>'
    )


def _called(section: str, title: str) -> str:
    return "whatever the images" if ROWS[section].once else title


def _instead(exhibit: Exhibit, report: Report) -> str:
    """The replacement for the paper's images on a page of real data."""
    return ": the mean map of each class" if section_of(exhibit) == "saliency" and report.is_real else ""


def _page_row(report: Report, section: str, shown: list[Exhibit], title: str) -> str:
    address = f"notebooks/{report.profile}/{SECTIONS[section]}.html"
    exhibits = ", ".join(f'<a href="#{exhibit["id"]}">{name_of(exhibit)}</a>' for exhibit in shown)
    return (
        f'<tr><th class="left" scope="row"><a href="{address}">{section}: {escape(title)}</a></th>'
        f'<td class="left">{exhibits}</td></tr>'
    )


def _table(heads: Sequence[str], rows: str, caption: str) -> str:
    cells = "".join(f'<th class="left" scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="meddef-scroll" tabindex="0"><table class="meddef meddef-text"><caption>{caption}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
