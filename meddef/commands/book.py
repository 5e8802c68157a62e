"""``meddef book``: the report from existing records, without recomputing any."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddef.errors import InputError
from meddef.yaml_reader import read_yaml


def book(
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile", "-p", help="Take only this profile; may be repeated. Default: all with records."
        ),
    ] = None,
    results_dir: Annotated[
        Path, typer.Option("--results-dir", help="Folder with <profile>/records.jsonl.")
    ] = Path("results"),
    section: Annotated[
        list[str] | None,
        typer.Option("--section", "-s", help="Run only this section's notebook; may be repeated."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="name=value for the notebooks, such as eps=0.1; may be repeated."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Number of notebooks run in parallel.")
    ] = 2,
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Also print the whole book into _build/meddef.pdf (needs Chromium)."),
    ] = False,
    store: Annotated[
        bool,
        typer.Option(
            "--store", help="Also refresh the outputs kept in notebooks/ (what nbval compares with)."
        ),
    ] = False,
) -> None:
    """Run the notebooks on recorded results and build the book in _build/html; up-to-date parts are skipped.

    Examples:

        meddef book                                        # everything under results/

        meddef book -s ablation --parameter eps=8/255      # one notebook with another setting, then the book
    """
    from meddef.book.build import build_book, one_at_a_time, publish_figures, published_profiles
    from meddef.book.notebooks import find_root, run_notebooks, store_outputs
    from meddef.book.pages import pages
    from meddef.report.report import Report

    root = find_root()
    published = results_dir.resolve() == root / "results"
    profiles = profile or (
        published_profiles(root)
        if published
        else [path.parent.name for path in results_dir.glob("*/records.jsonl")]
    )
    parameters: dict[str, Any] = {}
    for text in parameter or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--parameter '{text}' has no value: write name=value")
        parameters[name] = read_yaml(value, f"--parameter '{text}'")
    sources = dict.fromkeys(profiles, results_dir)
    wanted = (
        dict.fromkeys(profiles, section)
        if section
        else pages(Report.load(*source) for source in sources.items())
    )
    with one_at_a_time(root):
        run_notebooks(sources, root=root, sections=wanted, parameters=parameters, jobs=jobs)
        if store:
            store_outputs(root=root, sections=section, jobs=jobs)
        build_book(sources, root=root)
        if pdf:
            from meddef.book.pdf import print_book

            print(f"pdf: {print_book(root)}")
        if published and not parameters:
            publish_figures(sources, root=root)
