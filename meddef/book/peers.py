"""Attacks in several libraries: defaults, equal settings, batch sizes; tables from ``results/bench``."""

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

PLACES = {name: Path("results") / "bench" / f"{name}.json" for name in ("peers", "batch_sizes")}
COMMANDS = {
    "peers": "python -m tests.bench.peers_defaults",
    "batch_sizes": "python -m tests.bench.batch_sizes",
}
Row = dict[str, Any]


def peers_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note where nothing was measured."""
    return {f"{name}.md": _part(root, name, table) for name, table in TABLES.items()}


def _part(root: Path, name: str, table: Callable[[list[Row], Row], Table]) -> str:
    if not (root / PLACES[name]).is_file():
        return f"No comparison is stored: run `{COMMANDS[name]}`.\n"
    bench = stored(root, name)
    made = circumstances([bench["provenance"]])
    origin = (
        f"Measured with {made['versions']} on {made['hardware']}, one thread, {made['computed']}, commit "
        f"{made['git commit']}: `{COMMANDS[name]}`."
    )
    return f"{table(bench['rows'], bench['about'])._repr_html_()}\n\n{origin}\n"


def stored(root: Path, name: str) -> dict[str, Any]:
    """What was measured: about, rows, provenance."""
    found: dict[str, Any] = json.loads((root / PLACES[name]).read_text(encoding="utf-8"))
    return found


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


def by_batch_size(rows: list[Row], about: Row) -> Table:
    """One row per way of drawing random starts and number of starts: robust images by batch size."""
    sizes = list(rows[0]["robust"])
    found = [
        {"random starts drawn": row["drawn"], "starts": row["starts"] or "none, from the image"}
        | {f"correct, batches of {size}": row["robust"][size] for size in sizes}
        | {"verdicts that differ": row["differ"]}
        for row in rows
    ]
    caption = (
        f"PGD at ε = {round(about['eps'] * 255)}/255, {about['steps']} steps, on {about['n']} test images of "
        f"{CARDS[about['dataset']].title} ({model_label(about['variant'], about['training'])}), loaded in batches of "
        f"{' and of '.join(sizes)}. Starts drawn for a batch are torchattacks', those from the image are "
        "this package's."
    )
    return Table(pd.DataFrame(found), caption, left=("starts",))


TABLES: dict[str, Callable[[list[Row], Row], Table]] = {"peers": comparison, "batch_sizes": by_batch_size}
