"""The command line, one module per group of commands (``meddef/commands``). Imports happen inside commands."""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
import warnings
from typing import Annotated

import typer

from meddef.commands import (
    attacks,
    audit,
    book,
    course,
    data,
    estimate,
    evaluate,
    export,
    lab,
    prune,
    publish,
    robustness,
    run,
    saliency,
    status,
    train,
)
from meddef.error_source import in_a_line, lacking, whose
from meddef.errors import InputError, RunFailed

app = typer.Typer(
    help="The reproducible companion to the MedDef paper: re-measure every published number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("prune")(prune.prune)
app.command("export")(export.export)
app.command("saliency")(saliency.saliency)
app.command("attacks")(attacks.attacks)
app.command("reproduce")(run.reproduce)
app.command("estimate")(estimate.estimate)
app.command("status")(status.status)
app.command("publish")(publish.publish)
app.command("audit")(audit.audit)
app.command("check-robustness")(robustness.check_robustness)
app.command("lab")(lab.lab)
app.command("book")(book.book)
app.add_typer(course.app, name="course")


def _flowing(text: str) -> str:
    """A docstring with one line per paragraph, which then fits a terminal of any width."""
    return "\n\n".join(" ".join(each.split()) for each in inspect.cleandoc(text).split("\n\n"))


for _group in (app, data.app, course.app):
    for _command in _group.registered_commands:
        _command.help = _flowing((_command.callback and _command.callback.__doc__) or "")


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every step, with times, to stderr.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Also show the traceback of an error; may be placed anywhere.")
    ] = False,
) -> None:
    """Set up logging for all commands; ``main`` has looked for --debug."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


def _say(message: Warning | str, category: type[Warning], *rest: object, **others: object) -> None:
    """A warning as one line, without its location in the code."""
    print(f"meddef: {category.__name__}: {' '.join(str(message).split())}", file=sys.stderr)


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2, anything else that fails exit code 1."""
    warnings.showwarning = _say
    try:
        app([argument for argument in sys.argv[1:] if argument != "--debug"])
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        print(f"meddef: {_told(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) or lacking(error) else 1)


def _told(error: Exception) -> str:
    """An error in one line: the problem and, if not included, whose code caused it."""
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, RunFailed):
        return str(error)
    if isinstance(error, OSError):  # a full disk or read-only folder: existing records are intact
        return f"{error}: fix this and run the same command again"
    if told := lacking(error):
        return told
    return f"{in_a_line(error)}: {whose(error)}; --debug shows the traceback"
