"""The command line, one module a group of commands (``meddef/commands``). Imports happen inside commands."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated

import typer

from meddef.commands import audit, book, course, data, estimate, evaluate, lab, robustness, run, status, train
from meddef.errors import InputError, RunFailed

app = typer.Typer(
    help="The reproducible companion to the MedDef paper: measure every published number again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("attacks")(evaluate.attacks)
app.command("reproduce")(run.reproduce)
app.command("estimate")(estimate.estimate)
app.command("status")(status.status)
app.command("audit")(audit.audit)
app.command("check-robustness")(robustness.check_robustness)
app.command("lab")(lab.lab)
app.command("book")(book.book)
app.add_typer(course.app, name="course")


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every step, with times, to stderr.")
    ] = False,
) -> None:
    """Set up logging for all commands."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


def _say(message: Warning | str, category: type[Warning], *rest: object, **others: object) -> None:
    """A warning as one line, without the place in the code that gave it."""
    print(f"meddef: {category.__name__}: {' '.join(str(message).split())}", file=sys.stderr)


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2, a run that failed exit code 1."""
    warnings.showwarning = _say
    try:
        app()
    except InputError as error:
        print(f"meddef: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except RunFailed as error:
        print(f"meddef: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that is read-only: what is recorded is whole
        print(f"meddef: {error}: mend that and run the same command again", file=sys.stderr)
        sys.exit(1)
