"""``meddef train``: train one model of a profile or of one's own, in one process or in several started by torchrun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.commands.judged import OwnModel
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
    from meddef.settings import DatasetSettings, Profile


def train(
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="resnet18, no_afd_mfe_msf, no_afd_mfe, no_afd, full, plain_capacity, attention_only, afd_only, "
            "mfe_only or cbam.",
        ),
    ] = None,
    model: OwnModel = None,
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
            help="clean, meddef (the paper's recipe), madry, fast or trades. Default: the profile's (--model: meddef).",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Default: the profile's, as of the next two.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate of Adam.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    images: Annotated[
        int | None,
        typer.Option("--images", min=2, help="Learn from as many of the training images. Default: all."),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--eps", help="Training ε of madry, fast and trades: 8/255 (default) or 0.03."),
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
    """Train one model, a variant of MedDef or your own, with a profile's settings or those given.

    The weights file records the model and the held-out images: 'meddef evaluate -w' needs nothing else, of your own
    model its --model. What takes no gradient in it (requires_grad) stays as it is. 'meddef reproduce' reuses the
    training of a variant on all images.

    Several processes, here two on one machine, train one model together, with the same curve up to rounding:

        torchrun --nproc-per-node 2 -m meddef train --profile cpu --variant full --seed 0

    Other examples:

        meddef train --dataset phantom_oct --variant full -o full.safetensors

        meddef train --data my_images --variant resnet18 --image-size 224 -o mine.safetensors

        meddef train --variant resnet18 --dataset phantom_xray --method trades --eps 4/255 --beta 1

        meddef train --model my_models:small_net --data my_images --image-size 64 --method madry --epochs 5 --lr 1e-3
        -o mine.safetensors
    """
    from meddef.evaluation.cells import model_folder
    from meddef.evaluation.distributed_training import train_cell
    from meddef.evaluation.own_training import train_own
    from meddef.evaluation.plan import Plan, RunOptions, make_plan
    from meddef.image_size import parse_size
    from meddef.records import RecordStore
    from meddef.settings import ProbesSettings, load_profile
    from meddef.training.launch import joined

    settings = load_profile(profile)
    check_device(device)
    name = _only(variant, model, control=control)
    models = _models(settings, name, method, epsilon, beta, control=control)
    models |= _trainings(settings, epochs=epochs, learning_rate=lr, batch_size=batch_size)
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
    if model is not None or images is not None:
        with joined(device) as team:
            state, weights, frozen = train_own(settings, options, model=model, images=images)
        if team.leads:
            if output is not None:
                output.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights, output)
            print(f"{output or weights}: {_summary(state.history, state.best_epoch)}")
            print(_told(settings) + ("" if images is None else f", {images} images of it"))
            print(frozen, end="\n" * bool(frozen))
        return
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
        print(f"{output or weights}: {_summary(record['history'], record['best_epoch'])}")
        print(_told(settings))


def _only(variant: str | None, model: str | None, *, control: bool) -> str:
    """The name of the only model: the variant, or the place of one's own."""
    if (variant is None) == (model is None):
        raise InputError("give either --variant (a model of the paper) or --model (one of your own)")
    if model is not None and control:
        raise InputError("--control is of a variant: with --model give --method")
    return str(variant or model)


def _trainings(settings: Profile, **given: float | None) -> dict[str, Any]:
    """The fields of a profile that say how to train, with what the command line gave."""
    from meddef.settings import TrainingSettings
    from meddef.yaml_reader import as_input_error

    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return {}
    with as_input_error("--epochs, --lr and --batch-size"):
        both = {
            name: rule and TrainingSettings.model_validate(rule.model_dump() | changes)
            for name, rule in (("training", settings.training), ("clean_training", settings.clean_training))
        }
    return both


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

    given = {"epsilon": None if epsilon is None else parse_eps(epsilon, "--eps"), "beta": beta}
    given = {name: value for name, value in given.items() if value is not None}
    found: dict[str, Any] = {"variants": [], "controls": [], "rivals": {}}
    if given and method in (None, "clean"):
        raise InputError(
            f"{'--eps' if 'epsilon' in given else '--beta'} requires --method madry, fast or trades"
        )
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


def _summary(history: list[dict[str, Any]], best_epoch: int) -> str:
    best = history[best_epoch]
    adversarial = best["val_adversarial"]
    shown = "" if adversarial is None else f", under PGD {adversarial:.1%}"
    return f"best epoch {best['epoch'] + 1} of {len(history)}, validation accuracy {best['val_clean']:.1%}{shown}"
