"""``meddef lab``: the laboratory of broken attacks, and robustness reports of its models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.cli_run import DataDir, given_data_dir

if TYPE_CHECKING:
    from collections.abc import Iterable

DATASETS = ("phantom_oct", "phantom_xray")


def lab(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="May be repeated. Default: both families of phantoms."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")] = Path(
        "results/lab"
    ),
    data_dir: DataDir = None,
) -> None:
    """Get attacks wrong in each known way, on small models, and record what tables that gives.

    Writes tables.jsonl (accuracies), robustness.jsonl (reports on sound and broken models) and provenance.jsonl.
    The same machine gives the same records; minutes on one core. Example:

        meddef lab
    """
    import time

    import torch

    from meddef.atomic import write_text
    from meddef.audit.lab import experiment, reports
    from meddef.evaluation.provenance import provenance
    from meddef.progress import progress_bar

    torch.set_num_threads(1)
    where, chosen, started = given_data_dir(data_dir), dataset or list(DATASETS), time.monotonic()
    tables: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    with progress_bar(2 * len(chosen), "laboratory") as bar:
        for name in chosen:
            tables += experiment.run(name, data_dir=where)
            bar.update()
            items += reports.run(name, data_dir=where)
            bar.update()
    write_text(output / "tables.jsonl", _lines(tables))
    write_text(output / "robustness.jsonl", _lines(items))
    write_text(output / "provenance.jsonl", _lines([provenance("cpu", time.monotonic() - started)]))
    print(f"{output}: {len(tables)} cells, {len(items)} items of robustness reports")


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
