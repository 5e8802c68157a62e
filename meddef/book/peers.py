"""One attack in several libraries, by their defaults and with equal settings: a table from ``results/bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.data import CARDS
from meddef.report.display import Table
from meddef.report.labels import model_label
from meddef.report.tables_setup import circumstances

PLACE = Path("results") / "bench" / "peers.json"
NOTHING = "No comparison is stored: run `python -m tests.bench.peers_defaults`.\n"
Row = dict[str, Any]


def peers_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note if nothing was measured."""
    if not (root / PLACE).is_file():
        return {"peers.md": NOTHING}
    bench = stored(root)
    made = circumstances([bench["provenance"]])
    origin = (
        f"Measured with {made['versions']} on {made['hardware']}, one thread, {made['computed']}, commit "
        f"{made['git commit']}: `python -m tests.bench.peers_defaults`."
    )
    return {"peers.md": f"{comparison(bench['rows'], bench['about'])._repr_html_()}\n\n{origin}\n"}


def stored(root: Path) -> dict[str, Any]:
    """What was measured: about, rows, provenance."""
    found: dict[str, Any] = json.loads((root / PLACE).read_text(encoding="utf-8"))
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
