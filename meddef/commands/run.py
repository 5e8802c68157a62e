"""``meddef reproduce``: run a profile or a part of it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from meddef.errors import InputError
from meddef.sections import SECTIONS, find_root

if TYPE_CHECKING:
    from meddef.evaluation.plan import Plan, RunOptions
    from meddef.settings import Profile

RUNS = Path("runs")
REPORT_NEEDS = ("papermill", "ipykernel", "jupyter_book", "plotly")  # of the extra "book"
ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        "-p",
        help="smoke, cpu, cpu_oct, cpu_patient, rivals, gpu, paper, or a path to a YAML file.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with chest_xray/, roct/, ... (default: $MEDDEF_DATA_DIR)."),
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder for records and weights.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Worker processes; 0: one per core.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="List unreadable images and skip them.")]


def reproduce(
    profile: ProfileOption = "smoke",
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help=f"One section of the report: {', '.join(SECTIONS)}.",
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = RUNS,
    jobs: Jobs = 0,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Address of a Dask scheduler whose workers run the cells."),
    ] = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
    adopt: Annotated[
        Path | None,
        typer.Option(
            "--adopt", help="Folder of an earlier export, such as results/cpu: its cells count as done."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and a time estimate; run nothing.")
    ] = False,
    trial: Annotated[
        bool,
        typer.Option(
            "--trial",
            help="Two steps of each kind of cell, on phantoms, without report: a test that the profile runs here.",
        ),
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Build the report afterwards.")] = True,
) -> None:
    """Turn images into the report: train, prune, attack, record, then run the notebooks and build the book.

    Recorded results are not recomputed, and an interrupted run resumes. Examples:

        meddef reproduce                                            # phantoms, minutes, needs no data

        meddef reproduce --profile cpu --data-dir ~/data            # the real chest X-rays, hours on two cores

        meddef reproduce --profile cpu --only epsilon --dry-run     # what would that cost?

        meddef reproduce --profile paper --trial --device cuda      # does it run on this GPU? minutes, needs no data
    """
    from meddef.evaluation.checks import check_reach
    from meddef.evaluation.plan import RunOptions, make_plan
    from meddef.records import RecordStore
    from meddef.settings import load_profile
    from meddef.smoke_test import trial as cut
    from meddef.workers import interruptible, leave

    settings = load_profile(profile)
    if trial:
        check_reach(settings)  # the trial's two steps need not reach; what is tried has to
        settings = cut(settings)
    check_device(device)
    report = report and not dry_run and not trial
    if report:
        _check_report()
    folder = runs_dir / settings.name
    if scheduler is not None:
        folder = folder.resolve()  # workers have working directories of their own
    options = RunOptions(folder, given_data_dir(data_dir), device, skip_unreadable)
    if adopt is not None:
        count = RecordStore(options.folder).adopt(adopt.resolve())
        print(f"{count} cells taken over from {adopt}")
    plan = make_plan(settings, options)
    if only:
        plan = plan.only(only)
    try:
        with interruptible():
            _run(plan, options, jobs, scheduler, dry_run=dry_run)
            if report:
                from meddef.book.build import build_report

                build_report(runs_dir, settings.name, section=only, jobs=_workers(jobs, settings))
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)


def _check_report() -> None:
    """Refuse before hours of computing what cannot be built afterwards."""
    try:
        find_root()
    except InputError as error:
        raise InputError(f"{error}, or give --no-report for the records alone") from error
    if lacking := [name for name in REPORT_NEEDS if find_spec(name) is None]:
        raise InputError(
            f"the report needs {', '.join(lacking)}: pip install 'meddef[book]', or give --no-report for the records "
            "alone"
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"unknown device '{device}': use cpu, cuda or cuda:N") from error
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device '{device}' is not supported: use cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device '{device}': PyTorch sees no CUDA GPU here, use --device cpu")


def _run(plan: Plan, options: RunOptions, jobs: int, scheduler: str | None, *, dry_run: bool) -> None:
    from meddef.evaluation.estimate import estimate_seconds, humane, pass_seconds, sharing, speed
    from meddef.evaluation.executor import InlineExecutor, make_executor
    from meddef.evaluation.run import missing, run_plan
    from meddef.records import RecordStore

    todo = missing(plan, RecordStore(options.folder))
    with make_executor(_workers(jobs, plan.profile), scheduler, None if dry_run else options) as (
        executor,
        workers,
    ):
        if not todo:
            print(f"{plan.profile.name}: all {len(plan.cells)} cells are up to date in {options.folder}")
        else:
            per_pass = pass_seconds(todo, plan.profile, options.device)
            total = estimate_seconds(
                todo,
                per_pass,
                sharing(workers, options.device, scheduler),
                starts_workers=scheduler is None and workers > 1,
            )
            print(f"{plan.profile.name}: {plan.profile.description}")
            print(
                f"{len(plan.cells)} cells, {len(todo)} to compute with {workers} worker(s): about {humane(total)} "
                f"({speed(per_pass)})"
            )
        if dry_run:
            _print_plan(plan, {cell.key for cell in todo})
            return
        started = time.perf_counter()
        inside = isinstance(executor, InlineExecutor)
        run_plan(plan, options, executor, inside=inside, at_once=workers if scheduler is None else None)
        if todo:
            actual = time.perf_counter() - started
            print(f"took {humane(actual)}" + (f", {actual / total:.1f} times the estimate" if total else ""))


def _on_workers(plan: Plan, options: RunOptions) -> RunOptions:
    """The folders that workers must see; phantoms are drawn and need no data."""
    from meddef.data.source_phantom import FAMILY

    is_drawn = all(dataset.name in FAMILY for dataset in plan.profile.datasets)
    return replace(options, data_dir=None) if is_drawn else options


def _print_plan(plan: Plan, todo: set[str]) -> None:
    table = Table(title=f"plan of profile {plan.profile.name}")
    for column in ("dataset", "part", "cells", "to compute", "passes to compute"):
        table.add_column(column, justify="left" if column in ("dataset", "part") else "right")
    groups: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.dataset, cell.section), []).append((cell.key in todo, cell.work))
    for (dataset, section), rows in groups.items():
        lacking = [work for is_todo, work in rows if is_todo]
        table.add_row(dataset, section, str(len(rows)), str(len(lacking)), f"{sum(lacking):,.0f}")
    Console().print(table)


def _workers(jobs: int, profile: Profile) -> int:
    return jobs or max(1, (os.cpu_count() or 1) // profile.threads)


def given_data_dir(given: Path | None) -> Path | None:
    """``--data-dir``, else $MEDDEF_DATA_DIR, else None (enough for phantoms); absolute, since workers of a cluster have
    working directories and variables of their own."""
    if given is not None and not given.is_dir():
        raise InputError(
            f"--data-dir '{given}' is not a folder: give the one that holds chest_xray/, roct/, ..."
        )
    named = given or os.environ.get("MEDDEF_DATA_DIR")
    return Path(named).resolve() if named else None
