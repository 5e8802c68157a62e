"""A training cell computed by a group of processes: the first handles lock and record, the others only compute."""

from __future__ import annotations

from meddef.errors import InputError
from meddef.evaluation.executor import DirectExecutor
from meddef.evaluation.plan import Plan, RunOptions
from meddef.evaluation.run import missing, run_plan
from meddef.evaluation.task import Task, run_task
from meddef.records import Record, RecordStore
from meddef.training.process_group import Team


def train_cell(plan: Plan, options: RunOptions, team: Team) -> Record:
    """The record of the only cell of ``plan``, trained where it is missing; empty in all processes but the first.

    Raises:
        InputError: the processes differ in images, code or settings; another run works in the folder.
    """
    (cell,) = plan.cells
    if not team.agrees(cell.key):
        raise InputError("the processes differ in images, code or settings: make them equal on all machines")
    if team.leads:
        return run_plan(plan, options, DirectExecutor(), inside=True, export=False)[0]
    for lacking in missing(plan, RecordStore(options.folder)):
        run_task(Task((lacking,), None, plan.profile, options, progress=False))
    return {}
