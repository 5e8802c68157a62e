"""``meddef train``: one model of a profile, by one process or by several that torchrun starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from meddef.records import Record
    from meddef.settings import DatasetSettings, Profile


def train(
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            help="resnet18, no_afd_mfe_msf, no_afd_mfe, no_afd, full, plain_capacity or attention_only.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="Such as chest_xray or phantom_oct. Default: the profile's, if it has one."
        ),
    ] = None,
    profile: ProfileOption = "smoke",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    control: Annotated[
        bool, typer.Option("--control", help="Train it the other way: cleanly, or ResNet18 adversarially.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A copy of the weights (.safetensors).")
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Train one model with a profile's settings; 'meddef reproduce' then finds it done.

    Several processes, here two on one machine, train one model together and get the same curve within rounding:

        torchrun --nproc-per-node 2 -m meddef train --profile cpu --variant full --seed 0

    Another example: meddef train --dataset phantom_oct --variant full -o full.safetensors
    """
    from meddef.evaluation.cells import model_folder
    from meddef.evaluation.plan import Plan, RunOptions, make_plan
    from meddef.evaluation.together import train_cell
    from meddef.records import RecordStore
    from meddef.settings import load_profile
    from meddef.training.launch import joined

    settings = load_profile(profile)
    check_device(device)
    models = {"variants": [], "controls": [variant]} if control else {"variants": [variant], "controls": []}
    chosen = {"datasets": [_dataset(settings, dataset)], "seeds": [seed], "grids": {}, "saliency": None}
    settings = settings.model_copy(update={**models, **chosen})
    options = RunOptions(runs_dir / settings.name, given_data_dir(data_dir), device, skip_unreadable)
    plan = make_plan(settings, options)
    (cell,) = (cell for cell in plan.cells if cell.kind == "train")
    weights = model_folder(options.folder, cell.key) / "best.safetensors"
    if not weights.is_file():  # a record that was taken over from elsewhere came without
        RecordStore(options.folder).forget(cell.key)
    with joined(device) as team:
        record = train_cell(Plan(settings, (cell,)), options, team)
    if team.leads:
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(weights, output)
        print(f"{output or weights}: {_summary(record)}")


def _dataset(settings: Profile, name: str | None) -> DatasetSettings:
    from meddef.settings import DatasetSettings

    if name is None and len(settings.datasets) > 1:
        names = ", ".join(dataset.name for dataset in settings.datasets)
        raise InputError(f"profile '{settings.name}' has several datasets: give --dataset, one of {names}")
    known = [dataset for dataset in settings.datasets if name in (None, dataset.name)]
    return known[0] if known else DatasetSettings(name=str(name))


def _summary(record: Record) -> str:
    best = record["history"][record["best_epoch"]]
    adversarial = best["val_adversarial"]
    shown = "" if adversarial is None else f", under PGD {adversarial:.1%}"
    epochs = len(record["history"])
    return f"best epoch {best['epoch'] + 1} of {epochs}, validation accuracy {best['val_clean']:.1%}{shown}"
