"""``meddef publish``: copy what a run has finished to the records in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddef.commands.run import (
    RUNS,
    DataDir,
    Device,
    ProfileOption,
    RunsDir,
    Skip,
    check_device,
    given_data_dir,
)
from meddef.errors import InputError


def publish(
    profile: ProfileOption = "smoke",
    data_dir: DataDir = None,
    runs_dir: RunsDir = RUNS,
    results_dir: Annotated[
        Path, typer.Option(help="Folder of published records; a sub-folder per profile.")
    ] = Path("results"),
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Copy the records of a run to results/: all of a finished run, the whole models of one that goes on.

    A model is whole when nothing is left to be measured on it. What is published lets another machine go on without
    weights: meddef reproduce --profile cpu --adopt results/cpu

    Example: meddef publish --profile cpu
    """
    from meddef.evaluation.plan import RunOptions, make_plan
    from meddef.evaluation.publication import publishable
    from meddef.records import RecordStore
    from meddef.settings import load_profile

    settings = load_profile(profile)
    check_device(device)
    options = RunOptions(runs_dir / settings.name, given_data_dir(data_dir), device, skip_unreadable)
    plan = make_plan(settings, options)
    store = RecordStore(options.folder)
    found = publishable(plan, store)
    if not found.whole:
        raise InputError(
            f"no model of profile '{settings.name}' is finished in {options.folder}: meddef status says what is missing"
        )
    store.export(found.keys, into=results_dir / settings.name)
    print(
        f"{found.whole} of {found.models} models, {len(found.keys)} of {len(plan.cells)} cells: "
        f"{results_dir / settings.name}"
    )
