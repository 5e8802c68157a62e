"""``meddef train``: train one model of a profile, in one process or in several started by torchrun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window
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
    from meddef.data.own import OwnImages
    from meddef.evaluation.cell import Cell
    from meddef.evaluation.plan import RunOptions
    from meddef.records import Record
    from meddef.settings import DatasetSettings, Profile


def train(
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            help="resnet18, no_afd_mfe_msf, no_afd_mfe, no_afd, full, plain_capacity, attention_only, afd_only, "
            "mfe_only or cbam.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="Such as chest_xray or phantom_oct. Default: the profile's, if it has one."
        ),
    ] = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    image_size: Annotated[
        str | None,
        typer.Option("--image-size", help="Side in pixels, or height x width. Default: the profile's."),
    ] = None,
    profile: ProfileOption = "smoke",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    control: Annotated[
        bool, typer.Option("--control", help="Train the control: cleanly, or ResNet18 adversarially.")
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="clean, meddef (the paper's recipe), madry, fast or trades. Default: the profile's.",
        ),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", help="Training ε of madry, fast and trades: 8/255 (default) or 0.03."),
    ] = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="Weight of the divergence in trades. Default: 6.")
    ] = None,
    split_policy: Annotated[
        str | None,
        typer.Option(
            "--split-policy",
            help="released, paper or patient. Default: the profile's where it names the dataset, else released; of "
            "--data and --csv that do not hold train, val and test: patient where patients are known, else paper.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A copy of the weights (.safetensors).")
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Train one model with a profile's settings; 'meddef reproduce' then reuses it.

    The weights file records the model and the held-out images: 'meddef evaluate -w' needs nothing else.

    Several processes, here two on one machine, train one model together, with the same curve up to rounding:

        torchrun --nproc-per-node 2 -m meddef train --profile cpu --variant full --seed 0

    Other examples:

        meddef train --dataset phantom_oct --variant full -o full.safetensors

        meddef train --data my_images --variant resnet18 --image-size 224 -o mine.safetensors

        meddef train --variant resnet18 --dataset phantom_xray --method trades --epsilon 4/255 --beta 1
    """
    from meddef.evaluation.cells import model_folder
    from meddef.evaluation.distributed_training import train_cell
    from meddef.evaluation.plan import Plan, RunOptions, make_plan
    from meddef.image_size import parse_size
    from meddef.records import RecordStore
    from meddef.settings import ProbesSettings, load_profile
    from meddef.training.launch import joined

    settings = load_profile(profile)
    check_device(device)
    models = _models(settings, variant, method, epsilon, beta, control=control)
    options_of_own = Own(data, csv, classes, window, channels)
    own = options_of_own.images(dataset)
    its = _own(own, split_policy) if own else _dataset(settings, dataset, split_policy)
    chosen: dict[str, Any] = {
        "datasets": [its.model_copy(update=options_of_own.updates(own))],
        "image_size": settings.image_size if image_size is None else parse_size(image_size),
        "seeds": [seed],
        "grids": {},
        **dict.fromkeys(("saliency", "curve", "defenses", "universal", "transfer")),
        "noisy": {},
        "probes": ProbesSettings(),
    }
    settings = settings.model_copy(update={**models, **chosen})
    place = own.data_dir if own else given_data_dir(data_dir)
    options = RunOptions(runs_dir / settings.name, place, device, skip_unreadable)
    plan = make_plan(settings, options)
    (cell,) = (cell for cell in plan.cells if cell.kind == "train")
    weights = model_folder(options.folder, cell.key) / "best.safetensors"
    if not weights.is_file():  # a record that was taken over from elsewhere came without
        RecordStore(options.folder).forget(cell.key)
    with joined(device) as team:
        record = train_cell(Plan(settings, (cell,)), options, team)
    if team.leads:
        if output is not None:
            _copy(weights, output, cell, settings, options)
        print(f"{output or weights}: {_summary(record)}")
        print(_told(settings))


def _models(
    settings: Profile,
    variant: str,
    method: str | None,
    epsilon: str | None,
    beta: float | None,
    *,
    control: bool,
) -> dict[str, Any]:
    """The fields of a profile whose only model is ``variant``, trained as requested."""
    from meddef.commands.attacks import parse_eps
    from meddef.settings import TRAININGS, AdversarialSettings
    from meddef.yaml_reader import as_input_error

    given = {"epsilon": None if epsilon is None else parse_eps(epsilon, "--epsilon"), "beta": beta}
    given = {name: value for name, value in given.items() if value is not None}
    found: dict[str, Any] = {"variants": [], "controls": [], "rivals": {}}
    if given and method in (None, "clean"):
        raise InputError(f"--{next(iter(given))} requires --method madry, fast or trades")
    if method is None:
        return found | {"controls" if control else "variants": [variant]}
    if control:
        raise InputError("--control and --method exclude each other: leave --control out")
    shared = settings.training.adversarial or AdversarialSettings()
    alike = {name: getattr(shared, name) for name in ("steps", "validation_share")}
    if method != "clean":
        with as_input_error("--method"):
            rule = AdversarialSettings.model_validate({"method": method, **alike, **given})
        if rule.name not in TRAININGS:
            return found | {"rivals": {variant: [rule]}}
    return found | {"variants": [variant], "clean_variants": [variant] if method == "clean" else []}


def _copy(weights: Path, output: Path, cell: Cell, settings: Profile, options: RunOptions) -> None:
    """Copy the weights to ``output``; add the header that weights of earlier versions lack."""
    from meddef.evaluation.plan import splits_of
    from meddef.evaluation.weights_header import data_of, describe
    from meddef.training.checkpoint import describe_weights, read_header

    output.parent.mkdir(parents=True, exist_ok=True)
    if data_of(read_header(weights)):
        shutil.copyfile(weights, output)
        return
    about = {name: cell.settings[name] for name in ("variant", "seed", "training")}
    describe_weights(output, weights, **describe(splits_of(settings.datasets[0], settings, options), **about))


def _told(settings: Profile) -> str:
    """How the images were split, in words."""
    from meddef.data.cards import find_card
    from meddef.image_size import px

    (dataset,) = settings.datasets
    card = find_card(dataset.name)
    how = "split as drawn" if card.kind == "phantom" else f"split policy {dataset.split_policy}"
    size = px(settings.image_size)
    return f"trained on split train of {dataset.name} ({how}, seed {dataset.split_seed}), {size}"


def _own(own: OwnImages, policy: str | None) -> DatasetSettings:
    """Of one's own images, in colour: as they lie where that is train, val and test, else drawn."""
    from meddef.data.policies import check_policy
    from meddef.settings import DatasetSettings

    if policy is not None:
        check_policy(policy)
    return DatasetSettings.model_validate(
        {
            "name": own.card.name,
            "card": own.card,
            "split_policy": policy or own.training_policy,
            "channels": 3,
        }
    )


def _dataset(settings: Profile, name: str | None, policy: str | None) -> DatasetSettings:
    from meddef.data.policies import check_policy
    from meddef.settings import DatasetSettings

    if policy is not None:
        check_policy(policy)

    if name is None and len(settings.datasets) > 1:
        names = ", ".join(dataset.name for dataset in settings.datasets)
        raise InputError(f"profile '{settings.name}' has several datasets: give --dataset, one of {names}")
    known = [dataset for dataset in settings.datasets if name in (None, dataset.name)]
    chosen = known[0] if known else DatasetSettings(name=str(name), split_policy="released")
    return chosen.model_copy(update={"split_policy": policy} if policy else {})


def _summary(record: Record) -> str:
    best = record["history"][record["best_epoch"]]
    adversarial = best["val_adversarial"]
    shown = "" if adversarial is None else f", under PGD {adversarial:.1%}"
    epochs = len(record["history"])
    return f"best epoch {best['epoch'] + 1} of {epochs}, validation accuracy {best['val_clean']:.1%}{shown}"
