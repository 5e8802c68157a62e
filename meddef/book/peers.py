"""One attack in several libraries: defaults, equal settings, faulty situations; tables from ``results/bench``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.data import CARDS
from meddef.report.display import Table
from meddef.report.labels import model_label
from meddef.report.tables_setup import circumstances

BENCH = Path("results") / "bench"
COMMANDS = {
    "peers": "python -m tests.bench.peers_defaults",
    "peers_faults": "python -m tests.bench.peers_faults",
}
Row = dict[str, Any]


def peers_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note where nothing was measured."""
    return {
        "peers.md": _part(root, "peers", lambda bench: comparison(bench["rows"], bench["about"])),
        "peers_faults.md": _part(
            root, "peers_faults", lambda bench: faults(bench["rows"], bench["versions"])
        ),
    }


def _part(root: Path, name: str, table: Callable[[dict[str, Any]], Table]) -> str:
    if not (root / BENCH / f"{name}.json").is_file():
        return f"No comparison is stored: run `{COMMANDS[name]}`.\n"
    bench = stored(root, name)
    made = circumstances([bench["provenance"]])
    origin = (
        f"Measured with {made['versions']} on {made['hardware']}, one thread, {made['computed']}, commit "
        f"{made['git commit']}: `{COMMANDS[name]}`."
    )
    return f"{table(bench)._repr_html_()}\n\n{origin}\n"


def stored(root: Path, name: str) -> dict[str, Any]:
    """What was measured, with its provenance."""
    found: dict[str, Any] = json.loads((root / BENCH / f"{name}.json").read_text(encoding="utf-8"))
    return found


def faults(rows: list[Row], versions: dict[str, str]) -> Table:
    """One row per situation, one column per library: what a user notices."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        cells.setdefault(row["situation"], {})[row["library"]] = row["outcome"]
    named = {
        library: f"{library} {versions.get(library, '')}".strip()
        for row in rows
        for library in [row["library"]]
    }
    found = [
        {"situation": situation} | {named[library]: outcome for library, outcome in outcomes.items()}
        for situation, outcomes in cells.items()
    ]
    caption = (
        "PGD with equal settings on a small network, one faulty situation at a time: an error, a warning that is not "
        "given where all is well, or nothing; below, the state in which the model is left."
    )
    return Table(pd.DataFrame(found), caption)


def comparison(rows: list[Row], about: Row) -> Table:
    """One row per library, settings and source of labels, the most successful attack first."""
    found = [
        {
            "library": f"{row['library']} {row['version']}".strip(),
            "settings": row["settings"],
            "labels": row["labels"],
            "robust accuracy": f"{row['after'] / row['n']:.3f}",
            "correct after": row["after"],
            "became correct": row["became_right"],
            "CPU seconds": f"{row['cpu_seconds']:.0f}",
            "beyond ε": f"{max(0.0, row['beyond']):.1e}" if row["beyond"] > 0 else "0",
        }
        for row in sorted(rows, key=lambda row: int(row["after"]))
    ]
    caption = (
        f"PGD at ε = {round(about['eps'] * 255)}/255 on {about['n']} test images of {CARDS[about['dataset']].title} "
        f"({model_label(about['variant'], about['training'])}; {rows[0]['before']} correct before). "
        '"By default" passes the model, the images, ε and, unless the labels are "predicted", the true labels. '
        '"Became correct" counts misclassified images that the attack turned right; "beyond ε" is the largest '
        "excess of a pixel."
    )
    return Table(pd.DataFrame(found), caption, left=("settings", "labels"))
