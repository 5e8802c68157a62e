"""Provenance of a figure, from its records.

It does not depend on the drawing machine, so that re-drawing a figure elsewhere changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from meddef.records import Record
from meddef.report.report import Report

KEYS_NAMED = 12  # more keys are counted and given as a digest
CODE_PAGE = "figures_code.html"
Origin = dict[str, Any]


def origin(report: Report, records: Iterable[Record]) -> Origin:
    """The provenance of ``records``, each value once: commits, versions, hardware, data, seeds and times.

    A figure of no records, such as one of the model's structure, has empty lists.
    """
    used = [record for record in records if "key" in record]
    keys = sorted({record["key"] for record in used})
    named = keys if len(keys) <= KEYS_NAMED else None
    return {
        "profile": report.profile,
        "records": {"count": len(keys), "sha256": digest("\n".join(keys)), "keys": named},
        "seeds": sorted({record["seed"] for record in used if "seed" in record}),
        "data": _fingerprints(report, used),
        **circumstances([cell for cell in report.provenance if cell["key"] in set(keys)]),
    }


def circumstances(cells: Sequence[Record]) -> Origin:
    """Commits, versions, hardware, devices, first and last time and seconds of rows of provenance."""
    finished = sorted(cell["finished"] for cell in cells)
    return {
        "commits": _commits(cells),
        "versions": _distinct(cell["versions"] for cell in cells),
        "hardware": _distinct(cell["hardware"] for cell in cells),
        "devices": sorted({cell["device"] for cell in cells}),
        "computed": [finished[0], finished[-1]] if finished else [],
        "seconds": round(sum(cell["seconds"] for cell in cells), 1),
    }


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprints(report: Report, records: list[Record]) -> dict[str, str]:
    """Dataset -> fingerprint of its images, as the records have it, or else the report's record of the dataset."""
    used = {record["dataset"] for record in records}
    found = {d.name: d.record["fingerprint"] for d in report.datasets if d.name in used}
    return found | {r["dataset"]: r["data_fingerprint"] for r in records if r.get("data_fingerprint")}


def _commits(cells: Iterable[Record]) -> list[Record]:
    """Each commit and whether its tree was clean, with the number of cells computed at it."""
    found = Counter((cell["commit"], not cell["dirty"]) for cell in cells)
    return [{"commit": c, "clean": clean, "cells": n} for (c, clean), n in sorted(found.items())]


def _distinct(values: Iterable[Record]) -> list[Record]:
    return list({str(sorted(value.items())): value for value in values}.values())


def code_anchor(function: str) -> str:
    """Of "meddef.figures.curves.security_curves" on the page with the code: "curves.security_curves"."""
    return function.removeprefix("meddef.").removeprefix("figures.")


def details(
    figure: Mapping[str, Any], numbers: str, *, root: str = "../../", notebook: str | None = None
) -> str:
    """A folded HTML table with the provenance of a figure; ``figure`` is the content of its JSON.

    Args:
        numbers: the CSV, for download.
        root: from the page to the book's first folder.
        notebook: the address of the executed notebook, where the page has one.
    """
    function = figure["function"]
    file = f"{figure['name']}.csv"
    count = numbers.count("\n") - 1
    source = f" in <code>{figure['notebook']}</code>" if "notebook" in figure else ""
    if notebook:
        source = f' in <a href="{notebook}"><code>{figure["notebook"]}</code></a>'
    link = f"data:text/csv;charset=utf-8,{quote(numbers)}"
    rows = {
        "Numbers": f'<a download="{file}" href="{link}">{file}</a>, {count:,} rows',
        "Made by": f'<a href="{root}{CODE_PAGE}#{code_anchor(function)}"><code>{function}</code></a>{source}',
        "Draw again": f"<code>{escape(figure['draw'])}</code>",
        **_rows(figure),
    }
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows.items())
    return (
        f'<details class="meddef-origin"><summary>Provenance of this figure</summary>'
        f"<table><tbody>{body}</tbody></table></details>"
    )


def _rows(figure: Mapping[str, Any]) -> dict[str, str]:
    """The lines on data and circumstances; one line for a figure without data."""
    if "files" not in figure and not figure["records"]["count"]:
        return {"Records": "none: computed from the package alone"}
    commits = (
        f"{c['commit'][:12]}{', clean tree' if c['clean'] else ', with local changes'}{_counted(figure, c)}"
        for c in figure["commits"]
    )
    hardware = (
        ", ".join([h["cpu"], f"{h['cores']} cores", *([h["gpu"]] if h.get("gpu") else [])])
        for h in figure["hardware"]
    )
    versions = (", ".join(f"{name} {number}" for name, number in v.items()) for v in figure["versions"])
    rows: dict[str, Iterable[str]] = {
        "Compute again": [f"<code>{escape(figure['command'])}</code>"],
        **_computed_from(figure),
        "Commit": commits,
        "Versions": versions,
        "Hardware": (escape(line) for line in hardware),
        "Computed": [" to ".join(dict.fromkeys(figure["computed"]))] if figure["computed"] else [],
    }
    return {name: "<br>".join(lines) for name, values in rows.items() if (lines := list(values))}


def _counted(figure: Mapping[str, Any], commit: Record) -> str:
    n = commit["cells"]
    return f" ({n:,} record{'s' * (n != 1)})" if "records" in figure else ""


def _computed_from(figure: Mapping[str, Any]) -> dict[str, Iterable[str]]:
    """Whole files, or records with their data and seeds."""
    if "files" in figure:
        files = figure["files"].items()
        return {"Files": (f"<code>{name}</code>, SHA-256 {value[:16]}" for name, value in files)}
    records = figure["records"]
    keys = ", ".join(records["keys"] or [f"SHA-256 of their keys {records['sha256'][:16]}"])
    return {
        "Records": [f"{records['count']:,} of profile {escape(figure['profile'])}; {keys}"],
        "Data": (f"{name}, SHA-256 {value[:16]}" for name, value in figure["data"].items()),
        "Seeds": [", ".join(map(str, figure["seeds"]))] if figure["seeds"] else [],
    }
