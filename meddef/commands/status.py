"""``meddef status``: which cells of a profile are computed, missing or stale, and why."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

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


def status(
    profile: ProfileOption = "smoke",
    data_dir: DataDir = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Show which cells of a profile are done, damaged, missing, stale (computed under other settings) or running.

    Example: meddef status --profile cpu
    """
    from meddef.evaluation.plan import RunOptions, make_plan
    from meddef.evaluation.status import run_status
    from meddef.settings import load_profile

    settings = load_profile(profile)
    check_device(device)
    options = RunOptions(runs_dir / settings.name, given_data_dir(data_dir), device, skip_unreadable)
    found = run_status(make_plan(settings, options), options.folder)
    table = Table(title=f"profile {settings.name} in {options.folder}")
    for column in ("dataset", "part", "done", "damaged", "missing", "stale because of"):
        table.add_column(column, justify="right" if column in ("done", "damaged", "missing") else "left")
    for part in found.parts:
        why = "; ".join(f"{count}: {reason}" for reason, count in sorted(part.stale.items()))
        table.add_row(part.dataset, part.part, str(part.done), str(part.damaged), str(part.missing), why)
    Console().print(table)
    print("a run is active in this folder" if found.running else "no run is active in this folder")
    if len(found.processors) > 1:
        told = ", ".join(f"{count} with {name}" for name, count in sorted(found.processors.items()))
        print(f"cells were computed with unlike processors, so that counts may differ: {told}")
    for label, epochs in found.training.items():
        print(f"{label}: {epochs} epochs finished")
    for label, images in found.attacking.items():
        print(f"{label}: {images} images attacked")
