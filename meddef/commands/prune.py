"""``meddef prune``: prune saved weights at several rates, fine-tune them, and say what each rate costs and buys."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from meddef.commands.attacks import parse_eps, parse_settings
from meddef.commands.judged import (
    Asked,
    Dataset,
    ImageSize,
    OtherData,
    OwnModel,
    SettingsFrom,
    Split,
    SplitPolicy,
    Subject,
    Variant,
    Weights,
)
from meddef.commands.output import AsJson, check_output, deliver
from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window
from meddef.commands.run import DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from meddef.data import Splits
    from meddef.settings import Profile, TrainingSettings


def prune(
    weights: Weights,
    rates: Annotated[
        str, typer.Option("--rates", help="Shares of the weights to set to zero, such as 0.1,0.5,0.8.")
    ],
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    variant: Variant = None,
    model: OwnModel = None,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="global: the smallest weights of all layers together (the paper's text); layer: of each layer the "
            "same share (its released code).",
        ),
    ] = "global",
    fine_tune: Annotated[
        int,
        typer.Option(
            "--fine-tune",
            metavar="EPOCHS",
            min=0,
            help="Train each pruned model; pruned weights stay zero.",
        ),
    ] = 0,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="Of the fine-tuning: clean, meddef, madry, fast or trades. Default: as the weights say that they were "
            "trained, else clean.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", help="Of the fine-tuning. Default: that of the training, else 0.0001."
        ),
    ] = None,
    attack: Annotated[
        str, typer.Option("--attack", help="As in 'meddef evaluate': clean, a name, or module:function.")
    ] = "pgd",
    eps: Annotated[
        str | None, typer.Option("--eps", help="Its budget: 0.05 or 8/255. Default: the paper's.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the attack, name=value; may be repeated."),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="Number of images.")] = 100,
    split: Split = "test",
    split_policy: SplitPolicy = None,
    image_size: ImageSize = None,
    profile: SettingsFrom = None,
    other_data: OtherData = False,
    data_dir: DataDir = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="A .safetensors file receives the pruned weights (of several rates one file each, pruned-0.5), a "
            ".json, .csv, .html or .md file the table. May be given several times.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prune saved weights, the paper's or your own model's, and print one row per rate.

    The row says how many weights are zero, the size on disk, the time per image, and accuracy without and under an
    attack on the pruned model itself, with intervals. The unpruned model comes first. Examples:

        meddef prune -w full.safetensors --rates 0.1,0.5,0.8 --eps 4/255 -o table.html

        meddef prune -w full.safetensors --rates 0.8 --scope layer --fine-tune 3 -o pruned.safetensors

        meddef prune --data my_images --image-size 224 --model my_models:small_net -w mine.safetensors --rates 0.5,0.9
        --fine-tune 2 --attack fgsm --eps 0.03 -o table.csv
    """
    import torch

    from meddef.commands import pruned as told
    from meddef.commands.told import Told
    from meddef.evaluation.cells import batches
    from meddef.evaluation.compression import compressed
    from meddef.evaluation.metrics import evaluate
    from meddef.evaluation.single import bind_attack, load_model
    from meddef.progress import watched
    from meddef.pruning import prune_l1_grid

    own = Own(data, csv, classes, window, channels)
    asked = Asked(dataset, variant, model, split, split_policy, image_size, profile, other_data, own)
    check_device(device)
    shares = parse_rates(rates)
    files = [path for path in output or () if path.suffix.lower() == ".safetensors"]
    tables = check_output([path for path in output or () if path not in files], pictures=False)
    settings = parse_settings(given or [])
    bound = bind_attack(attack, None if eps is None else _eps(eps, attack, settings), settings)
    if not fine_tune and (method or learning_rate):
        raise InputError("--method and --learning-rate are of the fine-tuning: give --fine-tune EPOCHS")
    if fine_tune and split != "test":
        raise InputError(f"--fine-tune learns from train and val: judge on test, not on {split}")
    subject = asked.subject(weights)
    recipe = training_of(subject, subject.profile, fine_tune, method, learning_rate) if fine_tune else None
    needed = ("train", "val") if fine_tune else ()
    splits = subject.splits(
        given_data_dir(data_dir), device, skip_unreadable=skip_unreadable, also_needed=needed
    )
    net, layout = load_model(weights, subject.models[0], splits, device=device, other_data=other_data)
    if recipe is not None:  # the forward() of one's own may rely on contiguous tensors
        recipe = recipe.model_copy(update={"channels_last": layout == torch.channels_last})
    part = splits.part(split)

    def loader(rate: float) -> Iterator[tuple[Tensor, Tensor]]:
        drawn = batches(part, images, subject.profile.batch_size, device, layout)
        return watched(drawn, min(images, len(part)), f"{attack}, pruned by {rate:g}")

    example = next(batches(part, images, 1, device, layout))[0]
    rows = [compressed(0.0, net, net, example, evaluate(net, loader(0.0), bound))]
    written = []
    for rate, smaller in zip(shares, prune_l1_grid(net, shares, scope=scope), strict=True):
        if recipe is not None:
            tuned(smaller, splits, recipe, device, f"fine-tuning at {rate:g}")
        smaller.eval()
        rows.append(compressed(rate, smaller, net, example, evaluate(smaller, loader(rate), bound)))
        about = {"rate": rate, "scope": scope, "fine_tuned_epochs": fine_tune}
        written += [
            _saved(path, smaller, subject.headers[0] | {"pruned": about}, rate, shares) for path in files
        ]
    used = {} if bound is None else dict(bound.keywords)
    about = subject.about(splits) | {
        "attack": attack, "eps": used.get("eps"), "settings": {k: v for k, v in used.items() if k != "eps"},
        "scope": scope, "fine_tuned_epochs": fine_tune,
        "fine_tuning": None if recipe is None else recipe.model_dump(mode="json"),
    }  # fmt: skip
    what = f"{subject.name}, {splits.dataset}"
    words = Told(attack, used.get("eps"), used, what, split, about, subject.told(splits, images))
    deliver(told.found(rows, scope, recipe, splits.classes, words), tables, as_json=as_json)
    for path in written:
        typer.echo(f"written: {path}", err=as_json)


def parse_rates(text: str) -> list[float]:
    """ "0.1,0.5" as numbers, ascending.

    Raises:
        InputError: one is no number above 0 and below 1, or given twice.
    """
    found = []
    for word in text.split(","):
        try:
            found.append(float(word))
        except ValueError as error:
            raise InputError(f"--rates '{word}' is not a number: write 0.1,0.5") from error
    if not all(0 < rate < 1 for rate in found) or len(set(found)) < len(found):
        raise InputError(
            f"--rates {text}: each must be above 0 and below 1, and they must differ (0.5 is half)"
        )
    return sorted(found)


def training_of(
    subject: Subject, profile: Profile, epochs: int, method: str | None, learning_rate: float | None
) -> TrainingSettings:
    """How to fine-tune: as given, else as the header says that the weights were trained, else cleanly.

    Raises:
        InputError: an unknown method, a learning rate that is none.
    """
    from meddef.settings import AdversarialSettings, TrainingSettings
    from meddef.settings.training import Method
    from meddef.yaml_reader import as_input_error

    if method is not None and method not in (methods := ("clean", *get_args(Method))):
        raise InputError(f"--method '{method}' is unknown: use one of {', '.join(methods)}")
    known = subject.headers[0].get("training")
    given: dict[str, Any] = {"epochs": epochs}
    if learning_rate is not None:
        given["learning_rate"] = learning_rate
    with as_input_error("fine-tuning"):
        base = TrainingSettings.model_validate({**(known or {"adversarial": None}), **given})
        if method == "clean":
            return base.model_copy(update={"adversarial": None})
        if method is not None:
            shared = base.adversarial or profile.training.adversarial or AdversarialSettings()
            rule = shared
            if shared.method != method:
                rule = AdversarialSettings.model_validate({"method": method, "steps": shared.steps})
            return base.model_copy(update={"adversarial": rule})
    return base


def tuned(model: nn.Module, splits: Splits, recipe: TrainingSettings, device: str, label: str) -> None:
    """Fine-tune ``model`` in place on the training images; what is zero stays zero."""
    from meddef.training import train, zeros_kept

    with tempfile.TemporaryDirectory() as folder, zeros_kept(model):
        place = Path(folder)
        train(model, splits.train, splits.val, recipe, seed=0, folder=place, device=device, label=label)


def _eps(text: str, attack: str, settings: dict[str, Any]) -> float:
    from meddef.attacks import ATTACKS
    from meddef.attacks.options import norm_of

    linf = attack in ATTACKS and norm_of(attack, settings) == "linf"
    return parse_eps(text, bounded=linf)


def _saved(path: Path, model: nn.Module, header: dict[str, Any], rate: float, rates: Sequence[float]) -> Path:
    from meddef.training.checkpoint import save_weights

    place = path if len(rates) == 1 else path.with_stem(f"{path.stem}-{rate:g}")
    place.parent.mkdir(parents=True, exist_ok=True)
    save_weights(place, model, **header)
    return place
