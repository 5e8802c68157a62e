"""``meddef course``: notebooks for students, marks for their teacher."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from meddef.errors import InputError

NO_NAMESPACES = (
    "submissions run without namespaces of their own ({}): grade in a container or an account of its own, and read "
    "'Marking' on the book's page for instructors"
)
app = typer.Typer(help="Eight labs on attacks and defences, marked automatically.", no_args_is_help=True)

Lab = Annotated[list[str] | None, typer.Option("--lab", help="Only this lab, such as lab2; may be repeated.")]


@app.command()
def start(
    folder: Annotated[Path, typer.Argument(help="Folder for the notebooks; created if missing.")],
    lab: Lab = None,
) -> None:
    """Copy the labs' notebooks to a working folder; existing files are never overwritten."""
    from meddef.course import source

    labs = _labs(lab)
    for name in labs:
        if (folder / f"{name}.ipynb").exists():
            raise InputError(f"{folder / f'{name}.ipynb'} exists: choose another folder, or move it away")
    for path in source.write_students(folder, labs):
        print(path)


@app.command()
def grade(
    submissions: Annotated[list[Path], typer.Argument(help="The students' notebooks.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file; default: print it.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Time for one submission.")] = 300,
    step_seconds: Annotated[
        int, typer.Option(min=1, help="CPU time for one cell, or one call by a check.")
    ] = 60,
    memory_mb: Annotated[
        int, typer.Option(min=64, help="Memory for one submission, in addition to the libraries'.")
    ] = 2048,
) -> None:
    """Mark submissions: each runs in a separate confined process, outside of which the checks run. Example:

    meddef course grade submissions/*.ipynb -o marks.csv
    """
    from meddef.atomic import write_text
    from meddef.course.grade import COLUMNS, Limits, legible, require
    from meddef.course.grade import grade as mark
    from meddef.course.workshop import Workshop
    from meddef.csv_text import csv_line

    require(submissions)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that cannot show a word
    wanted = Limits(seconds, step_seconds, memory_mb)
    text = csv_line(COLUMNS)
    with Workshop() as workshop:
        if workshop.without:
            print(f"meddef: {NO_NAMESPACES.format(legible(workshop.without))}", file=sys.stderr)
        if output:
            write_text(output, text)
        else:
            print(text, end="")
        for row in mark(submissions, wanted, workshop):
            line = csv_line(row.row())
            text += line
            if output:  # after each submission: what is marked stays marked, whatever follows
                write_text(output, text)
                told = f"{row.path}: {row.points} of {len(row.exercises)}, {row.status}"
                print(legible(told), flush=True)
            else:
                print(line, end="", flush=True)


@app.command()
def build(lab: Lab = None) -> None:
    """Generate the students' notebooks and run the labs with their solutions, for book/course/ (for authors)."""
    from meddef.book.notebooks import find_root
    from meddef.course import source

    folder = find_root() / "book" / "course"
    for path in [
        *source.write_students(folder / source.STUDENT, _labs(lab)),
        *source.write_pages(folder, _labs(lab)),
    ]:
        print(path)


def _labs(chosen: list[str] | None) -> tuple[str, ...]:
    from meddef.course.answers import LABS

    if unknown := sorted(set(chosen or ()) - set(LABS)):
        raise InputError(f"unknown lab '{unknown[0]}': use one of {', '.join(LABS)}")
    return tuple(name for name in LABS if not chosen or name in chosen)
