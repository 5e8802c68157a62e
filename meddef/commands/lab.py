"""``meddef lab``: the laboratory of broken attacks, and robustness reports of its models or of a profile's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meddef.atomic import write_text
from meddef.commands.attacks import parse_eps
from meddef.commands.run import RUNS, DataDir, Jobs, RunsDir, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meddef.laboratory.parts import Part
    from meddef.records import CellResult, Record

PHANTOMS = ("phantom_oct", "phantom_xray")
REAL = "chest_xray"


def lab(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="May be repeated. Default: both families of phantoms, and chest_xray where a data folder is given; "
            "with --profile, all of the profile's.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")] = Path(
        "results/lab"
    ),
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", "-p", help="Instead: robustness reports on the trained models of this profile."
        ),
    ] = None,
    eps: Annotated[
        list[str] | None,
        typer.Option(
            "--eps",
            help="ε of the profile's reports, 0.05 or 8/255; may be repeated. Default: the final ε of its training.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Budget of the profile's reports: brief, quick (default) or standard."),
    ] = None,
    runs_dir: RunsDir = RUNS,
    data_dir: DataDir = None,
    jobs: Jobs = 0,
) -> None:
    """Implement each known error of attacks, on small models, and record the resulting tables.

    For each dataset: tables_DATASET.jsonl (accuracies), robustness_DATASET.jsonl (reports on sound and broken models)
    and provenance_DATASET.jsonl. With --profile: robustness_PROFILE.jsonl and its provenance. Files appear when
    everything is done; an interrupted run resumes. Records are deterministic per machine. Examples:

        meddef lab                             # minutes on two cores, needs no data

        meddef lab --dataset chest_xray --data-dir ~/data

        meddef lab --profile smoke --budget brief    # after 'meddef reproduce --profile smoke'
    """
    from meddef.laboratory.parts import compute

    where = given_data_dir(data_dir)
    if profile is None:
        if eps or budget:
            raise InputError("--eps and --budget are for the reports of a profile: give --profile too")
        parts = _laboratory(dataset or _datasets(where), where)
    else:
        parts = _profile(profile, dataset, eps, budget or "quick", runs_dir, where)
    results = compute(parts, runs_dir / "lab", jobs or os.cpu_count() or 1)
    for name, rows in _files(parts, results).items():
        write_text(output / f"{name}.jsonl", _lines(rows))
        print(f"{output / name}.jsonl: {len(rows)} rows")


def _datasets(data_dir: Path | None) -> list[str]:
    from meddef.data import CARDS
    from meddef.data.source_folder import find_data_dir

    card = CARDS[REAL]
    base = find_data_dir(card, data_dir)
    here = base is not None and any((base / folder).is_dir() for folder in card.folders)
    return [*PHANTOMS, *([REAL] if here else [])]


def _laboratory(datasets: Sequence[str], data_dir: Path | None) -> list[Part]:
    from functools import partial

    from meddef.laboratory import experiment, reports
    from meddef.laboratory.parts import Part
    from meddef.results_version import versions

    found = []
    for name in datasets:
        images = experiment.load(name, data_dir, progress=True).fingerprint
        for kind, module in (("tables", experiment), ("robustness", reports)):
            content = {
                "images": images,
                "versions": versions("models", "training", "attacks", "evaluation", "audit"),
            }
            run = partial(module.run, name, data_dir=data_dir)
            found.append(Part(f"{kind}_{name}", f"{kind} of {name}", run, content))
    return found


def _profile(
    name: str,
    datasets: Sequence[str] | None,
    eps: Sequence[str] | None,
    budget: str,
    runs_dir: Path,
    data_dir: Path | None,
) -> list[Part]:
    from meddef.evaluation.plan import RunOptions
    from meddef.laboratory import of_profile
    from meddef.robustness import BUDGETS
    from meddef.settings import load_profile

    if budget not in BUDGETS:
        raise InputError(f"--budget '{budget}' is unknown: use one of {', '.join(BUDGETS)}")
    settings = load_profile(name)
    chosen = [d for d in settings.datasets if not datasets or d.name in datasets]
    if unknown := set(datasets or ()) - {d.name for d in chosen}:
        known = ", ".join(d.name for d in settings.datasets)
        raise InputError(f"profile '{settings.name}' has no dataset {', '.join(unknown)}: it has {known}")
    settings = settings.model_copy(update={"datasets": chosen})
    radii = [parse_eps(text) for text in eps or ()] or [of_profile.trained_epsilon(settings)]
    options = RunOptions(runs_dir / settings.name, data_dir)
    return of_profile.parts(settings, options, radii=radii, budget=budget)


def _files(parts: Sequence[Part], results: Sequence[CellResult]) -> dict[str, list[Record]]:
    """Name of a file -> its rows, those of its parts in their order."""
    files: dict[str, list[Record]] = {}
    for part, result in zip(parts, results, strict=True):
        source = part.file.partition("_")[2]
        files.setdefault(part.file, []).extend(result.records)
        files.setdefault(f"provenance_{source}", []).append({"key": result.key, **result.provenance})
    return files


def _lines(rows: Iterable[Record]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
