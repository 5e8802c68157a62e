"""Runs outdated notebooks with papermill, atomically and with checked parameters."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from meddef import sections as catalogue
from meddef.atomic import write_text
from meddef.error_source import in_a_line
from meddef.errors import InputError, RunFailed
from meddef.figures import published
from meddef.report.in_markdown import in_markdown
from meddef.report.report import Report
from meddef.sections import find_root as find_root
from meddef.workers import processes

SECTIONS = {name: row.notebook for name, row in catalogue.SECTIONS.items()}
"""Section as in "meddef reproduce --only" -> its notebook."""
START_TIMEOUT = 180  # seconds; a loaded machine starts kernels slowly
PARAMETERS = "Parameters of this page"  # they are folded under it
BEHIND_HEADING = " – "  # before the evidence that a page is
QUIET = "--IPKernelApp.log_level=50"  # kernels warn about sockets when they start and stop
OF_A_RUN = ("papermill", "execution")  # what a run writes into the metadata of a cell: times, paths


class NotebooksFailed(RunFailed):
    """At least one notebook failed; its partial output is kept."""


@dataclass(frozen=True)
class Job:
    """One notebook to run, with parameters and output path."""

    source: Path
    output: Path
    parameters: Mapping[str, Any]
    key: str
    title: str = (
        ""  # what the page's heading says behind the notebook's own; none for a page that stands once
    )

    @property
    def failed(self) -> Path:
        """The path of the partial output of a failed run."""
        return self.output.with_suffix(".failed.ipynb")


def run_notebooks(
    sources: Mapping[str, Path],
    *,
    root: Path | None = None,
    sections: Mapping[str, Iterable[str]],
    parameters: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> list[Path]:
    """Run the notebooks of each profile on the records in ``<folder>/<profile>/``.

    Results go to ``book/notebooks/<profile>/``. A notebook is skipped, with a message, when its cells, parameters,
    records and imported code are unchanged.

    Args:
        sources: profile -> folder of its records.
        sections: profile -> which of its notebooks.
        jobs: how many notebooks run at once.

    Returns:
        The executed notebooks, profile by profile, in the order of the sections.

    Raises:
        InputError: unknown section, no records, or a parameter that a notebook does not declare.
        NotebooksFailed: a cell raised, or a kernel died; the partial output is kept as ``*.failed.ipynb``, other
            notebooks are finished.
    """
    root = find_root(root)
    reports = {profile: Report.load(profile, folder) for profile, folder in sources.items()}
    plan = [
        _job(root, report, sources[profile], section, dict(parameters or {}))
        for profile, report in reports.items()
        for section in check_sections(sections[profile])
    ]
    todo = [job for job in plan if _key_of(job.output) != job.key]
    for job in plan:
        if job not in todo:
            print(f"{job.output.parent.name}/{job.source.stem}: up to date")
    _run_all(todo, jobs)
    return [job.output for job in plan]


def store_outputs(*, root: Path | None = None, sections: Iterable[str] | None = None, jobs: int = 1) -> None:
    """Run the notebooks with default parameters and store the outputs in ``notebooks/``, for nbval."""
    root = find_root(root)
    names = [root / "notebooks" / f"{SECTIONS[section]}.ipynb" for section in check_sections(sections)]
    _run_all([Job(name, name, {}, "") for name in names], jobs)


def check_sections(sections: Iterable[str] | None) -> list[str]:
    """Known section names in the order of the notebooks."""
    chosen = set(SECTIONS) if sections is None else set(sections)
    if unknown := sorted(chosen - set(SECTIONS)):
        raise InputError(f"unknown section '{unknown[0]}': use one of {', '.join(SECTIONS)}")
    return [section for section in SECTIONS if section in chosen]


def _job(root: Path, report: Report, results_dir: Path, section: str, extra: dict[str, Any]) -> Job:
    source = root / "notebooks" / f"{SECTIONS[section]}.ipynb"
    profile = report.profile
    files = [results_dir / profile / f"{name}.jsonl" for name in ("records", "provenance")]
    title = "" if catalogue.SECTIONS[section].once else report.title
    where = os.path.relpath(results_dir.resolve(), root / "notebooks")
    parameters = {"profile": profile, "results_dir": where} | extra
    check_parameters(source, parameters)
    output = root / "book" / "notebooks" / profile / source.name
    return Job(source, output, parameters, _key(source, {**parameters, "": title}, files), title)


def check_parameters(source: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook's cell tagged "parameters" does not declare; papermill only warns."""
    import papermill

    declared = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(declared)):
        raise InputError(
            f"{source.name} has no parameter '{unknown[0]}': it declares {', '.join(declared) or 'none'}"
        )


def _run_all(todo: list[Job], jobs: int) -> None:
    """Run every job, at most ``jobs`` at once, and list all failures at the end."""
    errors = []
    with processes(max(1, min(jobs, len(todo)))) as pool:  # papermill's event loop does not survive a fork
        for job, running in [(job, pool.submit(_run, job)) for job in todo]:
            try:
                error = running.result()
            except BrokenProcessPool:
                error = "its process, or one beside it, died (out of memory?): run again with --jobs 1"
            print(f"{job.output.parent.name}/{job.source.stem}: {'failed' if error else 'done'}", flush=True)
            if error:
                kept = f" (partial output in {job.failed})" if job.failed.is_file() else ""
                errors.append(f"{job.source.name}: {error}{kept}")
    if errors:
        raise NotebooksFailed("; ".join(errors))


def _run(job: Job) -> str | None:
    """Run one notebook (in a worker process); returns what went wrong, or None."""
    import papermill

    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger's remark on frozen modules
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.failed.unlink(missing_ok=True)
    partial = job.output.with_suffix(".partial.ipynb")
    try:
        notebook = papermill.execute_notebook(
            str(job.source), str(partial), parameters=dict(job.parameters), cwd=str(job.source.parent),
            progress_bar=False, start_timeout=START_TIMEOUT, extra_arguments=[QUIET],
        )  # fmt: skip
    except Exception as error:  # a cell's, or a kernel that does not start, or dies: this notebook's alone
        if partial.is_file():
            partial.replace(job.failed)
        return " ".join(str(error.evalue).split()) if hasattr(error, "evalue") else in_a_line(error)
    finally:
        partial.unlink(missing_ok=True)
    _clean(notebook)
    _name(notebook, job)
    if job.key:
        published.explain(notebook, stem=job.source.stem, section=section_of(job.source.stem))
        seal(notebook, job.key)
    else:
        published.forget(notebook)
    write_text(job.output, nbformat.writes(notebook) + "\n")
    return None


def _clean(notebook: NotebookNode) -> None:
    """Remove run-dependent metadata (times, paths) and overridden defaults, fold the parameters."""
    notebook.metadata.pop("papermill", None)
    injected = any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for name in OF_A_RUN:
            cell.metadata.pop(name, None)
        tags = cell.metadata.get("tags", [])
        if injected and "parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "hide-cell"]
            cell.metadata["mystnb"] = dict.fromkeys(("code_prompt_show", "code_prompt_hide"), PARAMETERS)


def _name(notebook: NotebookNode, job: Job) -> None:
    """Add the evidence to the heading of an executed notebook, and a link to the chapter below it."""
    first = notebook.cells[0]
    if job.title and first.cell_type == "markdown":
        heading, _, rest = first.source.partition("\n")
        first.source = (
            f"{heading}{BEHIND_HEADING}{in_markdown(job.title)}\n\n{chapter_link(job.source.stem)}\n{rest}"
        )


def chapter_link(stem: str) -> str:
    """The link from a page to its chapter."""
    return f"[All evidence for this section](../../sections/{stem}.md)"


def section_of(stem: str) -> str:
    """The section of a notebook; its own name if the report has no such section."""
    return next((section for section, name in SECTIONS.items() if name == stem), stem)


def _key_of(output: Path) -> str | None:
    """The key an executed notebook was made under; None where there is none, or what it shows is not what was run."""
    try:
        notebook = json.loads(output.read_text(encoding="utf-8"))
        made = notebook["metadata"]["meddef"]
        return str(made["key"]) if made["sha256"] == _digest(notebook) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def seal(notebook: NotebookNode, key: str) -> None:
    """Keep in the metadata the key under which it was run, and the checksum of what it shows then."""
    notebook.metadata["meddef"] = {"key": key, "sha256": _digest(json.loads(nbformat.writes(notebook)))}


def check_executed(output: Path) -> None:
    """Refuse an executed notebook that is not as its run left it.

    Raises:
        InputError: one line that names it.
    """
    if _key_of(output) is None:
        raise InputError(
            f"{output} is not what its run left (edited or damaged?): run 'meddef book' without -s"
        )


def _digest(notebook: Mapping[str, Any]) -> str:
    """SHA-256 of everything a notebook holds but what this package says of its run."""
    rest = {name: value for name, value in notebook["metadata"].items() if name != "meddef"}
    return hashlib.sha256(json.dumps([notebook["cells"], rest], sort_keys=True).encode()).hexdigest()


def _key(source: Path, parameters: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Hash of everything that can change the executed notebook, except installed libraries."""
    cells = [
        [
            cell.cell_type,
            cell.source,
            {name: cell.metadata[name] for name in cell.metadata if name not in OF_A_RUN},
        ]
        for cell in nbformat.read(source, as_version=4).cells
    ]
    digest = hashlib.sha256(json.dumps([cells, dict(parameters)], sort_keys=True).encode())
    code = [text for kind, text, _ in cells if kind == "code"]
    for file in [*files, *sorted(imported_files("\n".join(code)))]:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def imported_files(code: str) -> set[Path]:
    """The files of every meddef module that ``code`` imports, directly or not, with the tables their packages hold."""
    package = Path(__file__).resolve().parents[1]
    found: set[Path] = set()
    queue = _imports(code)
    while queue:
        parts = queue.pop().split(".")
        for depth in range(1, len(parts) + 1):
            place = package.parent.joinpath(*parts[:depth])
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file() and file not in found:
                    found.add(file)
                    queue |= _imports(file.read_text(encoding="utf-8"))
            if place != package and place.is_dir():
                found |= {*place.glob("*.csv"), *place.glob("*.yaml")}
    return found


def _imports(code: str) -> set[str]:
    """Names of meddef modules, and of what is taken from them, in import statements anywhere in ``code``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "meddef"}
