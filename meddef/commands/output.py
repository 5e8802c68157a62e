"""The result of a command as JSON on the standard output or as a file: metadata, headline and rows."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.atomic import replacing, write_text
from meddef.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from meddef.report.display import Table

TEXTS = (".json", ".csv", ".html", ".md")
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
        help="Also write a .json file (headline, rows and metadata) or a .csv file (one line per row).",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print model, data, ε, n, versions, headline and rows as JSON.")
]


def check_output(path: Path | None) -> None:
    """Refuse a name without a known format, before anything is computed."""
    if path is not None and (path.suffix.lower() not in (".json", ".csv") or path.is_dir()):
        raise InputError(f"--output '{path}' is not the name of a .json or .csv file")


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("meddef", "torch")}


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


def _csv(whole: dict[str, Any], called: str) -> str:
    """One line per row, with what it is of and the plain numbers of the headline beside it; deeper values as JSON."""
    beside = {key: value for key, value in whole.items() if key not in ("versions", "headline", called)}
    beside |= {f"{name}_version": number for name, number in whole["versions"].items()}
    beside |= {key: value for key, value in whole["headline"].items() if not isinstance(value, dict | list)}
    columns = dict.fromkeys(key for row in rows for key in row)
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, [*columns, *(key for key in beside if key not in columns)], lineterminator="\n"
    )
    writer.writeheader()
    for row in rows:
        values = {**beside, **row}.items()
        writer.writerow(
            {key: json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v for key, v in values}
        )
    return stream.getvalue()


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


_WRITERS: dict[str, Callable[[Found, Mapping[str, Any]], str]] = {
    ".csv": _csv,
    ".html": _html,
    ".md": _markdown,
}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
