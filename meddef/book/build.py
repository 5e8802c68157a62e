"""Builds the report: notebooks on records, the front page, the table of contents, and a book that needs no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import nbformat
import yaml

from meddef.atomic import alone, write_text
from meddef.book import chapters
from meddef.book.api_page import api_page
from meddef.book.autoattack import autoattack_page
from meddef.book.cards_page import cards_page
from meddef.book.content_policy import POLICY, protect_pages
from meddef.book.cost import cost_page
from meddef.book.cost_gpu import gpu_page
from meddef.book.definitions_page import definitions_page
from meddef.book.exhibits import exhibits_page
from meddef.book.frontpage import front_page
from meddef.book.notebooks import (
    SECTIONS,
    check_executed,
    check_sections,
    find_root,
    run_notebooks,
    section_of,
)
from meddef.book.pages import as_read, in_order, pages
from meddef.book.peers import peers_page
from meddef.book.reach_page import reach_page
from meddef.book.results_page import results_page
from meddef.book.typography import typeset_pages
from meddef.claims.verdicts import rows as rows_of_claims
from meddef.claims.verdicts import score
from meddef.errors import InputError, RunFailed
from meddef.figures import published
from meddef.playground.page import playground_pages, publish_playground
from meddef.report import cost_scaling
from meddef.report.decisions import decisions_page
from meddef.report.faults import faults_page
from meddef.report.headline import BUDGETS as HEADLINE
from meddef.report.report import Report
from meddef.trust.pages import CAPTION, trust_pages
from meddef.trust.pages import PAGES as TRUST_PAGES

__all__ = ["build_book", "build_report", "published_profiles", "run_notebooks"]

PAGES = ("results", "exhibits", "howto", "playground", "definitions", "surprises", "glossary")
COURSE = ("course/index", "course/instructor", *(f"course/lab{number}" for number in range(1, 9)))
REFERENCE = ("cards", "api", "figures_code", "cost", "cluster", "faults")
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # the console script may not be on PATH
PACKAGE = Path(__file__).parents[1]
INPUTS = (
    "*.md",
    "_toc.yml",
    "_static/**/*",
    "_extra/**/*",
    "playground/*.html",
    "course/**/*",
    "_generated/*",
    "notebooks/*/[0-9]*.ipynb",
    f"{chapters.FOLDER}/*.md",
)


class BookFailed(RunFailed):
    """Jupyter Book warned or failed; the last good book is kept."""


def build_report(
    runs_dir: Path, profile: str, *, section: str | None = None, jobs: int = 1, root: Path | None = None
) -> Path:
    """After ``meddef reproduce``: the book of the stored results, with ``profile`` from ``<runs_dir>`` in its place.

    Args:
        section: run only this section's notebook of ``profile``; its other pages stay as they are.

    Returns:
        The first page of the book. Raises as ``run_notebooks`` and ``build_book`` do.
    """
    root = find_root(root)
    with one_at_a_time(root):
        sources = dict.fromkeys(published_profiles(root), root / "results") | {profile: runs_dir.resolve()}
        wanted = pages(Report.load(name, folder) for name, folder in sources.items())
        if section:
            wanted[profile] = [section]
        run_notebooks(sources, root=root, sections=wanted, jobs=jobs)
        return build_book(sources, root=root)


def one_at_a_time(root: Path) -> AbstractContextManager[None]:
    """The right to build the book of ``root``; refused where somebody else has it."""
    return alone(
        root / "_build", f"another command builds the book in {root}: wait for it, then run this one again"
    )


def published_profiles(root: Path) -> list[str]:
    """Profiles whose records are stored under ``results/``."""
    return sorted(path.parent.name for path in (root / "results").glob("*/records.jsonl"))


def build_book(sources: Mapping[str, Path], *, root: Path | None = None) -> Path:
    """Build the book from the executed notebooks of the profiles in ``sources`` (profile -> folder of its records).

    Warnings are errors. If no input changed since the last build, nothing is built, with a message.

    Returns:
        ``_build/html/index.html``.

    Raises:
        InputError: no profile, one without executed notebooks, or a notebook that was edited after it was executed.
        BookFailed: with the end of what Jupyter Book printed.
    """
    root = find_root(root)
    if not sources:
        raise InputError("no records in results/: run 'meddef reproduce' first")
    reports = in_order(Report.load(name, folder) for name, folder in sources.items())
    for profile, sections in pages(reports).items():
        for notebook in _executed(root, profile, sections):
            check_executed(notebook)
    for name, text in generated(root, reports).items():
        _write_if_new(root / "book" / "_generated" / name, text)
    for name, text in chapters.chapter_pages(root, reports).items():
        _write_if_new(root / "book" / chapters.FOLDER / name, text)
    _write_if_new(root / "book" / "_toc.yml", _toc(root, reports))
    publish_playground(root)
    page = root / "_build" / "html" / "index.html"
    key = _key(root)
    stamp = root / "_build" / "book.key"
    if page.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        print(f"book: up to date, {page}")
        return page
    stamp.unlink(missing_ok=True)
    _jupyter_book(root)
    write_text(stamp, key)
    print(f"book: {page}")
    return page


def generated(root: Path, reports: list[Report]) -> dict[str, str]:
    """File name -> content of everything that the hand-written pages include, for ``book/_generated/``."""
    rows = rows_of_claims(reports)
    counts = score(rows)
    texts = front_page(reports, counts) | results_page(reports, rows, counts)
    texts |= cost_page(root) | gpu_page(root) | cost_scaling.pages(reports, root)
    texts |= faults_page(root) | trust_pages(root) | decisions_page(root) | api_page(root)
    texts |= definitions_page(reports) | reach_page(reports) | autoattack_page(root) | peers_page(root)
    texts |= chapters.evidence_table(reports)
    texts |= playground_pages(root) | cards_page(reports, HEADLINE)
    return texts | exhibits_page(as_read(reports), _sections(root, reports)) | published.code_page()


def publish_figures(sources: Mapping[str, Path], *, root: Path | None = None) -> list[Path]:
    """Write each figure of the executed notebooks to ``figures/<profile>/``, those of other pages to
    ``figures/pages/``: image, numbers and provenance."""
    root = find_root(root)
    left = {root / "figures" / "pages" / name: text for name, text in page_figures(root).items()}
    for path, text in left.items():
        write_text(path, text)
    _drop(root / "figures" / "pages", keep=left)
    written = list(left)
    wanted = pages(Report.load(name, folder) for name, folder in sources.items())
    for profile, sections in wanted.items():
        folder = root / "figures" / profile
        new: list[Path] = []
        for notebook in _executed(root, profile, sections):
            names = {"stem": notebook.stem, "section": section_of(notebook.stem)}
            new += published.publish(nbformat.read(notebook, 4), folder, **names)
        _drop(folder, keep=new)
        written += new
    return written


def page_figures(root: Path) -> dict[str, str]:
    """File name -> content of the figures without notebook: those on cost and on trust."""
    texts = cost_page(root) | trust_pages(root)
    return {name: text for name, text in texts.items() if name.endswith(published.ENDINGS)}


def _drop(folder: Path, *, keep: Iterable[Path]) -> None:
    """Remove the files of obsolete figures from ``folder``."""
    for old in {path for ending in published.ENDINGS for path in folder.glob(f"*.{ending}")} - set(keep):
        old.unlink()


def _executed(root: Path, profile: str, sections: Iterable[str]) -> list[Path]:
    """The executed notebooks of ``sections`` of a profile, in their order."""
    folder = root / "book" / "notebooks" / profile
    found = [folder / f"{SECTIONS[section]}.ipynb" for section in check_sections(sections)]
    return [path for path in found if path.is_file()]


def _sections(root: Path, reports: list[Report]) -> dict[str, list[str]]:
    """Profile -> the sections whose notebook was executed."""
    wanted = pages(reports)
    return {p: [section_of(path.stem) for path in _executed(root, p, wanted[p])] for p in wanted}


def _toc(root: Path, reports: list[Report]) -> str:
    """Jupyter Book's table of contents: one chapter per section of the paper, between the hand-written pages."""
    for profile, sections in _sections(root, reports).items():
        if not sections:
            raise InputError(f"profile '{profile}' has no executed notebooks: run 'meddef book' first")
    listed = {
        "Start here": PAGES, CAPTION: (*TRUST_PAGES, "decisions"), "Course": COURSE, "Reference": REFERENCE
    }  # fmt: skip
    first, *others = (
        {"caption": caption, "chapters": [{"file": page} for page in named]}
        for caption, named in listed.items()
    )
    parts = [first, chapters.toc(root, reports), *others]
    return yaml.safe_dump({"format": "jb-book", "root": "index", "parts": parts}, sort_keys=False)


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _key(root: Path) -> str:
    """Hash of every input of the build."""
    files = {file for pattern in INPUTS for file in (root / "book").glob(pattern) if file.is_file()}
    digest = hashlib.sha256(f"{version('jupyter-book')}\0{POLICY}".encode())
    for file in [root / "_config.yml", *sorted(files)]:
        digest.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    for file in sorted(PACKAGE.rglob("*.py")):  # the reference shows docstrings and sources
        digest.update(f"\0{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _plotly() -> Path:
    """The script of interactive figures; added to the finished book, since every page loads everything in its sources'
    ``_static``."""
    found = find_spec("plotly")
    if found is None or found.origin is None:
        raise InputError("interactive figures need the package plotly: pip install 'meddef[book]'")
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


def run_builder(root: Path, builder: str) -> Path:
    """Build the pages in ``book/`` with Jupyter Book, warnings as errors; typeset them, return the folder.

    ``builder`` is "html" or "singlehtml". The folder lies in ``_build/<builder>.new``.
    """
    new = root / "_build" / f"{builder}.new"
    shutil.rmtree(new, ignore_errors=True)
    command = [
        sys.executable, "-c", JUPYTER_BOOK, "build", str(root / "book"), "--config", str(root / "_config.yml"),
        "--path-output", str(new), "--builder", builder, "--warningiserror", "--nitpick", "--keep-going", "--all",
        "--quiet",
    ]  # fmt: skip
    environment = os.environ | {
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONWARNINGS": "ignore",
        "NO_COLOR": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise BookFailed(f"jupyter-book failed:\n{(done.stdout + done.stderr)[-4000:]}")
    typeset_pages(new / "_build" / builder)
    protect_pages(new / "_build" / builder)
    return new / "_build" / builder


def _jupyter_book(root: Path) -> None:
    """Build beside the old book and replace it when complete."""
    new = run_builder(root, "html")
    shutil.copy(_plotly(), new / "_static")
    html, old = root / "_build" / "html", root / "_build" / "old"
    shutil.rmtree(old, ignore_errors=True)
    if html.exists():
        html.rename(old)
    new.rename(html)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new.parents[1], ignore_errors=True)
