"""Errors in the figures under ``figures/``, found by re-drawing them from the records."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat

from meddef.book.build import page_figures
from meddef.book.notebooks import SECTIONS
from meddef.book.pages import pages
from meddef.figures.origin import digest
from meddef.figures.published import ENDINGS, alt_text, described
from meddef.report.report import Report

SAID = ("alt", "function", "command", "draw")
SAID_OF_NOTEBOOKS = ("notebook", "profile", "records")
SAID_OF_PAGES = ("page", "files")
SAID_OF_RECORDS = ("data", "commits", "versions", "hardware", "devices", "computed")
WITHOUT_RECORDS = (
    "meddef.figures.model.",
    "meddef.trust.attainable.",
)  # drawn from the code or the paper alone
WITHOUT_DATA = (
    "meddef.figures.pruning.",
)  # about weights; the training's images are phantoms drawn from a seed
DRAWS = ("curves.", "pictures.", "figures_")  # what a notebook's cell that draws a figure begins with


def drawn_again(root: Path, report: Report, section: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Name -> JSON and CSV of every figure that the section's notebook draws from ``report``."""
    stem = SECTIONS[section]
    names: dict[str, Any] = {}
    found = {}
    for cell in nbformat.read(root / "notebooks" / f"{stem}.ipynb", 4).cells:
        if cell.cell_type != "code":
            continue
        if "parameters" in cell.metadata.get("tags", []) or cell.source.startswith("from meddef"):
            exec(cell.source.partition("\nrun = ")[0], names)
            names["run"] = report
        elif cell.source.startswith(DRAWS):
            content = eval(cell.source, names).content()
            if content is not None:
                figure = described(content, stem=stem, section=section, alt=alt_text(cell))
                found[figure["name"]] = json.loads(json.dumps(figure)), content["numbers"]
    return found


def pages_drawn_again(root: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """As ``drawn_again``, of the figures that no notebook makes."""
    texts = page_figures(root)
    names = [name.removesuffix(".svg") for name in texts if name.endswith(".svg")]
    return {name: (json.loads(texts[f"{name}.json"]), texts[f"{name}.csv"]) for name in names}


def expected(root: Path, profiles: list[str]) -> dict[str, dict[str, tuple[dict[str, Any], str]]]:
    """Folder in ``figures/`` (profile, or "pages") -> what ``drawn_again`` gives for all of its pages."""
    reports = [Report.load(profile, root / "results") for profile in profiles]
    wanted = pages(reports)
    drawn = {
        report.profile: {
            name: figure
            for section in wanted[report.profile]
            for name, figure in drawn_again(root, report, section).items()
        }
        for report in reports
    }
    return drawn | {"pages": pages_drawn_again(root)}


def problems(folder: Path, figures: dict[str, tuple[dict[str, Any], str]]) -> list[str]:
    """A line for each thing that is wrong in a folder of ``figures/``, beside ``figures`` as drawn again."""
    wanted = {f"{name}.{ending}" for name in figures for ending in ENDINGS}
    present = {path.name for path in folder.iterdir()}
    found = [f"{name} is missing" for name in sorted(wanted - present)]
    found += [f"{name} belongs to no figure" for name in sorted(present - wanted)]
    for name, (figure, numbers) in figures.items():
        if not {f"{name}.{ending}" for ending in ENDINGS} <= present:
            continue
        kept = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        table = (folder / f"{name}.csv").read_text(encoding="utf-8")
        found += [f"{name}: {line}" for line in [*_unsaid(kept), *_differences(kept, figure)]]
        if table != numbers:
            found.append(f"{name}: the CSV does not follow from the records")
        if f"sha256:{digest(table)}" != _identifier(folder / f"{name}.svg"):
            found.append(f"{name}: the picture was drawn from other numbers than the CSV's")
    return found


def _unsaid(figure: dict[str, Any]) -> list[str]:
    function = figure.get("function", "")
    wanted = SAID + (SAID_OF_PAGES if "page" in figure else SAID_OF_NOTEBOOKS)
    wanted += () if function.startswith(WITHOUT_RECORDS) else SAID_OF_RECORDS
    allowed = ("data",) if function.startswith(WITHOUT_DATA) or "page" in figure else ()
    lines = [f"says no {name}" for name in wanted if not figure.get(name) and name not in allowed]
    if not re.search(r"\w+ \w+ \w+", figure.get("alt", "")):
        lines.append("has no alternative text")
    return lines


def _differences(kept: dict[str, Any], figure: dict[str, Any]) -> list[str]:
    return [f"{name} is not what the records say" for name in figure if kept.get(name) != figure[name]]


def _identifier(svg: Path) -> str:
    """What the picture's metadata say of its numbers."""
    node = ElementTree.parse(svg).find(".//{http://purl.org/dc/elements/1.1/}identifier")
    return "" if node is None else str(node.text)
