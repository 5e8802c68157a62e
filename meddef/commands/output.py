"""What a command found, as JSON on the standard output or as a file: of what, a headline, and rows."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from meddef.atomic import write_text
from meddef.errors import InputError

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write a .json file (headline, rows, and what they are of) or a .csv file (one line a row) as well.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print model, data, ε, n, versions, headline and rows as JSON.")
]


def check_output(path: Path | None) -> None:
    """Refuse a name that says no format, before anything is computed."""
    if path is not None and (path.suffix.lower() not in (".json", ".csv") or path.is_dir()):
        raise InputError(f"--output '{path}' is not the name of a .json or .csv file")


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("meddef", "torch")}


def deliver(
    about: Mapping[str, Any],
    headline: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    called: str,
    path: Path | None,
    as_json: bool,
) -> None:
    """Print ``as_json``, write where there is a ``path``; in JSON the rows are ``called`` that. NaN becomes null."""
    whole = _without_nan({**about, "versions": versions(), "headline": headline, called: rows})
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    if as_json:
        typer.echo(text)
    if path is not None:
        write_text(path, f"{text}\n" if path.suffix.lower() == ".json" else _csv(whole, called))
        typer.echo(f"written: {path}", err=as_json)


def _csv(whole: dict[str, Any], called: str) -> str:
    """One line a row, with what it is of and the plain numbers of the headline beside it; deeper values as JSON."""
    beside = {key: value for key, value in whole.items() if key not in ("versions", "headline", called)}
    beside |= {f"{name}_version": number for name, number in whole["versions"].items()}
    beside |= {key: value for key, value in whole["headline"].items() if not isinstance(value, dict | list)}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*whole[called][0], *beside], lineterminator="\n")
    writer.writeheader()
    for row in whole[called]:
        values = {**beside, **row}.items()
        writer.writerow(
            {key: json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v for key, v in values}
        )
    return stream.getvalue()


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
