"""``meddef lab``: the laboratory of broken attacks, and robustness reports of its models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meddef.atomic import write_text
from meddef.cli_run import RUNS, DataDir, RunsDir, given_data_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meddef.records import Record

DATASETS = ("phantom_oct", "phantom_xray")


def lab(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="May be repeated. Default: both families of phantoms."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")] = Path(
        "results/lab"
    ),
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", "-p", help="Instead: robustness reports of the models this profile has trained."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    data_dir: DataDir = None,
) -> None:
    """Get attacks wrong in each known way, on small models, and record what tables that gives.

    Writes tables.jsonl (accuracies), robustness.jsonl (reports on sound and broken models) and provenance.jsonl. With
    --profile, only robustness_PROFILE.jsonl and its provenance. The same machine gives the same records. Examples:

        meddef lab                    # minutes on one core, needs no data

        meddef lab --profile smoke    # after 'meddef reproduce --profile smoke'
    """
    import time

    import torch

    from meddef.evaluation.provenance import provenance

    torch.set_num_threads(1)
    where, started = given_data_dir(data_dir), time.monotonic()
    if profile is None:
        files, suffix = _laboratory(dataset or list(DATASETS), where), ""
    else:
        files, suffix = _reports(profile, runs_dir, where), f"_{profile}"
    files["provenance"] = [provenance("cpu", time.monotonic() - started)]
    for name, rows in files.items():
        write_text(output / f"{name}{suffix}.jsonl", _lines(rows))
    print(f"{output}: {', '.join(f'{len(rows)} {name}' for name, rows in files.items())}")


def _laboratory(datasets: Sequence[str], data_dir: Path | None) -> dict[str, list[Record]]:
    from meddef.audit.lab import experiment, reports
    from meddef.progress import progress_bar

    files: dict[str, list[Record]] = {"tables": [], "robustness": []}
    with progress_bar(2 * len(datasets), "laboratory") as bar:
        for name in datasets:
            for file, run in (("tables", experiment.run), ("robustness", reports.run)):
                files[file] += run(name, data_dir=data_dir)
                bar.update()
    return files


def _reports(name: str, runs_dir: Path, data_dir: Path | None) -> dict[str, list[Record]]:
    from meddef.audit.lab import reports
    from meddef.evaluation.plan import RunOptions
    from meddef.settings import load_profile

    settings = load_profile(name)
    options = RunOptions(runs_dir / settings.name, data_dir)
    return {"robustness": list(reports.of_profile(settings, options))}


def _lines(rows: Iterable[Record]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
