"""``meddef audit``: the findings about the published numbers, as a table or for a program."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meddef.csv_text import csv_table

if TYPE_CHECKING:
    from meddef.audit import Finding

FIELDS = ("id", "kind", "exhibit", "value", "n", "verdict", "detail")
COLOURS = {"holds": "green", "does_not_hold": "red", "cannot_be_checked": "yellow"}


class Format(StrEnum):
    """How the findings are printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def audit(
    format_: Annotated[Format, typer.Option("--format", help="How to print the findings.")] = Format.table,
    results: Annotated[
        Path,
        typer.Option(
            "--results",
            help="Folder of records; reports their largest gap between BIM and PGD beside the paper's.",
        ),
    ] = Path("results"),
) -> None:
    """Check the paper's printed numbers for attainability, consistency and claims. Needs no data and no GPU.

    Exit code 0 when the audit ran, regardless of its findings.
    """
    from meddef.audit import findings

    found = findings(results=results)
    if format_ is Format.table:
        _print_table(found)
    else:
        typer.echo({Format.json: as_json, Format.csv: as_csv, Format.markdown: as_markdown}[format_](found))


def as_json(found: Sequence[Finding]) -> str:
    """A list of objects with the keys of `FIELDS`."""
    return json.dumps([finding.as_dict() for finding in found], ensure_ascii=False, indent=1)


def as_csv(found: Sequence[Finding]) -> str:
    """A header and one line per finding; None is an empty field."""
    return csv_table(FIELDS, (finding.as_dict() for finding in found)).rstrip("\n")


def as_markdown(found: Sequence[Finding]) -> str:
    """A pipe table."""
    lines = [f"| {' | '.join(FIELDS)} |", f"|{' --- |' * len(FIELDS)}"]
    for finding in found:
        cells = (
            "" if value is None else str(value).replace("|", "\\|") for value in finding.as_dict().values()
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(found: Sequence[Finding]) -> str:
    """Number of findings by kind and verdict, one kind per line."""
    lines = []
    for kind in dict.fromkeys(finding.kind for finding in found):
        counts = Counter[str](finding.verdict for finding in found if finding.kind == kind)
        lines.append(f"{kind}: {', '.join(f'{counts[verdict]} {verdict}' for verdict in COLOURS)}")
    return "\n".join(lines)


def table_rows(found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Rows for the terminal: (id, verdict, detail); the attainability of an exhibit's cells at one n is one row."""
    rows = [(f.id, str(f.verdict), f.detail) for f in found if f.kind != "attainability"]
    cells: dict[tuple[str, int | None], list[Finding]] = {}
    for finding in found:
        if finding.kind == "attainability":
            cells.setdefault((finding.exhibit, finding.n), []).append(finding)
    for (exhibit, n), tried in cells.items():
        not_k = list(dict.fromkeys(f"{f.value:.2f}" for f in tried if f.verdict != "holds"))
        verdict = "does_not_hold" if not_k else "holds"
        held = sum(f.verdict == "holds" for f in tried)
        missing = f"; not: {', '.join(not_k)}" if not_k else ""
        rows.append(
            (f"attainable:{exhibit}:n={n}", verdict, f"{held} of {len(tried)} entries attainable{missing}")
        )
    return rows


def _print_table(found: Sequence[Finding]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("verdict", "finding", box=SIMPLE)
    for id_, verdict, detail in table_rows(found):
        words = Text(verdict.replace("_", " "), style=COLOURS[verdict], no_wrap=True)
        table.add_row(words, Text.assemble((id_, "bold"), f"\n{detail}"))
    console = Console()
    console.print(table)
    console.print(summary(found), highlight=False)
    console.print("Every entry at every test-set size: --format csv, json or markdown.", highlight=False)
