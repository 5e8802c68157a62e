"""What a command found: printed as tables or JSON, and written as JSON, CSV, HTML, Markdown, LaTeX or a
picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef import installation
from meddef.atomic import replacing, write_text
from meddef.csv_text import csv_table
from meddef.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meddef.report.display import Table

TEXTS = (".json", ".csv", ".html", ".md", ".tex")
PICTURES = (".png", ".pdf", ".svg")
COLOURS = {"PASS": "green", "FAIL": "red", "N-A": "yellow"}
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;"
    "margin:1.5em 0}caption{text-align:left;font-weight:bold}th,td{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ddd;vertical-align:top}.left{text-align:left}small{font-weight:normal}"
)

Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="Write the result as well: .json (headline, rows and provenance), .csv (one line per row), .html or "
        ".md (headline and tables), .tex (tables), .png, .pdf or .svg (a picture). May be given several times.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print model, data, ε, n, versions, headline and rows as JSON.")
]


@dataclass(frozen=True)
class Found:
    """The result of a command.

    Attributes:
        summary: the headline as a sentence.
        about: what it is of: model, weights, data, attack, ...
        headline: its numbers.
        rows: plain rows by name; those of the names in ``csv`` make the lines of a CSV.
        tables: what is printed, and shown in HTML and Markdown.
        more: tables for HTML and Markdown alone.
        notes: lines below the tables.
        picture: draws it; None: there is none.
    """

    summary: str
    about: Mapping[str, Any]
    headline: Mapping[str, Any]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    csv: tuple[str, ...]
    tables: Sequence[Table]
    more: Sequence[Table] = ()
    notes: Sequence[str] = ()
    picture: Callable[[], Figure] | None = field(default=None, repr=False)


def check_output(paths: Sequence[Path] | None, *, pictures: bool = True) -> list[Path]:
    """The files to write; refuses a name without a known format, before anything is computed."""
    formats = TEXTS + PICTURES * pictures
    for path in paths or ():
        if path.suffix.lower() not in formats or path.is_dir():
            *some, last = formats
            raise InputError(f"--output '{path}' is not the name of a {', '.join(some)} or {last} file")
    return list(paths or ())


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"meddef": installation.version(), "torch": version("torch")}


def deliver(found: Found, paths: Sequence[Path], *, as_json: bool) -> None:
    """Print it, headline first, or ``as_json``, and write the files. In JSON NaN and infinity become null."""
    whole = _plain(
        {
            "summary": found.summary,
            **found.about,
            "versions": versions(),
            "headline": found.headline,
            **found.rows,
        }
    )
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    typer.echo(text if as_json else found.summary)
    for table in () if as_json else found.tables:
        show(table)
    for line in found.notes:
        typer.echo(line, err=as_json)
    for path in paths:
        kind = path.suffix.lower()
        if is_picture(path):
            _draw(found, path)
        else:
            write_text(path, {".json": f"{text}\n"}.get(kind) or _WRITERS[kind](found, whole))
        typer.echo(f"written: {path}", err=as_json)


def show(table: Table) -> None:
    """A table on the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    made = Rich(title=table.caption, box=SIMPLE, title_justify="left", pad_edge=False)
    for place, name in enumerate(table.frame.columns):
        words = place < table.header or name in table.left
        longest = max(
            len(word) for text in [name, *map(str, table.frame[name])] for word in str(text).split() or [""]
        )
        made.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=place == 0,
            overflow="fold",
            min_width=min(longest, 20),
        )
    for cells in table.frame.itertuples(index=False):
        made.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in map(str, cells)))
    Console().print(made)


def _draw(found: Found, path: Path) -> None:
    assert found.picture is not None, "a command that draws none refuses pictures before it begins"
    with replacing(path) as temporary:
        found.picture().savefig(temporary, format=path.suffix[1:].lower(), dpi=200)


def _csv(found: Found, whole: Mapping[str, Any]) -> str:
    """One line per row, with what it is of and the plain numbers of the headline beside it; deeper values as JSON."""
    rows = [row for name in found.csv for row in whole[name]]
    beside = {key: whole[key] for key in found.about}
    beside |= {f"{name}_version": number for name, number in whole["versions"].items()}
    beside |= {key: value for key, value in whole["headline"].items() if not isinstance(value, dict | list)}
    columns = dict.fromkeys(key for row in rows for key in row)
    lines = (
        {
            key: json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v
            for key, v in values.items()
        }
        for values in ({**beside, **row} for row in rows)
    )
    return csv_table([*columns, *(key for key in beside if key not in columns)], lines)


def _html(found: Found, whole: Mapping[str, Any]) -> str:
    """One page that needs no other file."""
    tables = "\n".join(table._repr_html_() for table in (*found.tables, *found.more))
    notes = "".join(f"<li>{escape(line)}</li>" for line in (*found.notes, *_about(found, whole)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(found.summary)}</title>'
        f"<style>{STYLE}</style>\n<h1>{escape(found.summary)}</h1>\n{tables}\n<ul>{notes}</ul></html>\n"
    )


def _markdown(found: Found, whole: Mapping[str, Any]) -> str:
    tables = [_markdown_table(table) for table in (*found.tables, *found.more)]
    notes = "\n".join(f"- {line}" for line in (*found.notes, *_about(found, whole)))
    return "\n\n".join([f"**{found.summary}**", *tables, notes]) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [[str(name) for name in table.frame.columns], ["---"] * len(table.frame.columns)]
    lines += [[str(cell) for cell in cells] for cells in table.frame.itertuples(index=False)]
    rows = "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)
    return f"{table.caption}\n\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _about(found: Found, whole: Mapping[str, Any]) -> list[str]:
    values = {key: whole[key] for key in (*found.about, "versions")}
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _latex(found: Found, whole: Mapping[str, Any]) -> str:
    """The tables, for a document with the package booktabs; what they are of stands in comments."""
    about = "".join(f"% {line}\n" for line in (found.summary, *found.notes, *_about(found, whole)))
    return about + "\n".join(table.to_latex() for table in (*found.tables, *found.more))


_WRITERS: dict[str, Callable[[Found, Mapping[str, Any]], str]] = {
    ".csv": _csv,
    ".html": _html,
    ".md": _markdown,
    ".tex": _latex,
}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
