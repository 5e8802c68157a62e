"""One source per lab, ``labs/labN.md`` (MyST notebook text), for the student's notebook and the book's page.

Tags of code cells decide where a cell appears:

| tag | student's notebook | book's page |
| --- | --- | --- |
| (none) | as it is | as it is |
| ``stub`` | as it is | shown as text, not run |
| ``solution`` | left out | folded text; run, not shown |
| ``check``, ``yours`` | as it is; raises until the exercises before it are solved | as it is |

``yours`` marks cells that use the student's solutions. The page's outputs are stored; the book only shows them.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from meddef.atomic import write_text
from meddef.course.answers import LABS
from meddef.errors import InputError

RAISING = frozenset({"check", "yours"})
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}
STUDENT = "student"
NOTE = """\
*This notebook is yours: write your code in place of `raise NotImplementedError` or `...`, run the cell, then the
check below it. A check stops with a sentence that says what to change; hints open with a click. Solutions are on this
lab's page of the book.*"""


def read(lab: str) -> NotebookNode:
    """The source of ``lab`` as a notebook without outputs, its cells numbered. Raises InputError if it cannot be
    read."""
    if lab not in LABS:
        raise InputError(f"unknown lab '{lab}': use one of {', '.join(LABS)}")
    try:
        from myst_nb.core.read import read_myst_markdown_notebook
    except ImportError:
        raise InputError("labs are read with myst-nb: install 'meddef[book]'") from None
    text = (files("meddef.course") / "labs" / f"{lab}.md").read_text(encoding="utf-8")
    notebook = read_myst_markdown_notebook(text)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    return notebook


def student(lab: str) -> NotebookNode:
    """The student's notebook: stubs, no solutions, no outputs."""
    notebook = read(lab)
    notebook.metadata["meddef"] = {"lab": lab}
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(NOTE))
    return _numbered(notebook)


def page(lab: str) -> NotebookNode:
    """The book's page: stubs as text, solutions folded; no outputs yet."""
    notebook = read(lab)
    cells = []
    for cell in notebook.cells:
        code = f"```python\n{cell.source}\n```"
        if "stub" in tags(cell):
            cells.append(nbformat.v4.new_markdown_cell(code))
            continue
        if "solution" in tags(cell):
            folded = f"<details><summary>Show the solution</summary>\n\n{code}\n\n</details>"
            cells.append(nbformat.v4.new_markdown_cell(folded))
            cell.metadata["tags"] = [*tags(cell), "remove-cell"]
        cells.append(cell)
    link = (
        f"Download {{download}}`the notebook to work in <{STUDENT}/{lab}.ipynb>`; on this page the "
        "solutions are folded."
    )
    cells.insert(1, nbformat.v4.new_markdown_cell(link))
    notebook.cells = cells
    return _numbered(notebook)


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def _numbered(notebook: NotebookNode) -> NotebookNode:
    """Give cells ids that are the same in every run."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


def to_text(notebook: NotebookNode) -> str:
    """The file's content."""
    return nbformat.writes(notebook) + "\n"


def write_students(folder: Path, labs: tuple[str, ...] = LABS) -> list[Path]:
    """Write the students' notebooks to ``folder``."""
    paths = []
    for lab in labs:
        path = folder / f"{lab}.ipynb"
        write_text(path, to_text(student(lab)))
        paths.append(path)
    return paths


def write_pages(folder: Path, labs: tuple[str, ...] = LABS) -> list[Path]:
    """Run each lab with its solutions and write it with its outputs to ``folder``, as the book shows it.

    Raises ``nbclient.exceptions.CellExecutionError`` if a solution fails its check.
    """
    from nbclient import NotebookClient

    from meddef.book.notebooks import QUIET, START_TIMEOUT

    paths = []
    for lab in labs:
        notebook = page(lab)
        client = NotebookClient(
            notebook,
            timeout=300,
            startup_timeout=START_TIMEOUT,
            extra_arguments=[QUIET],
            coalesce_streams=True,
        )
        client.execute()
        notebook.metadata["language_info"] = dict(LANGUAGE)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        path = folder / f"{lab}.ipynb"
        write_text(path, to_text(notebook))
        paths.append(path)
    return paths
