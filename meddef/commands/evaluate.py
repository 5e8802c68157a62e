"""``meddef evaluate``: one attack on saved weights, at one ε or along several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.commands.attacks import parse_grid, parse_settings
from meddef.commands.judged import (
    Asked,
    Dataset,
    ImageSize,
    OtherData,
    OwnModel,
    SettingsFrom,
    Split,
    SplitPolicy,
    Variant,
    Weights,
)
from meddef.commands.output import AsJson, Output, check_output, deliver, is_picture
from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window
from meddef.commands.run import DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError, RunFailed

if TYPE_CHECKING:
    from torch import Tensor

    from meddef.commands.output import Found
    from meddef.evaluation.judge import Attack

FailUnder = Annotated[
    float | None,
    typer.Option(
        "--fail-under",
        min=0,
        max=1,
        help="Exit with 1 if robust accuracy is lower (of several ε: at the largest; of several labels: the lowest).",
    ),
]
Activation = Annotated[
    str,
    typer.Option(
        "--activation",
        help="What your model's logits are meant for: softmax (one a class), or sigmoid: one logit, of two classes, or "
        "one a class, each then attacked and judged alone, against the rest.",
    ),
]


def evaluate(
    weights: Weights,
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    variant: Variant = None,
    model: OwnModel = None,
    activation: Activation = "softmax",
    attack: Annotated[
        str,
        typer.Option(
            "--attack",
            help="clean, one of those that 'meddef attacks' lists, or your own, module:function, called as (model, "
            "images, labels, eps=..., ...), which returns the attacked images.",
        ),
    ] = "pgd",
    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            help="Budget in pixel units: 0.05 or 8/255; several, 1/255,2/255,4/255, give accuracy against ε and the "
            "smallest ε that fools the model on each image. Default: the paper's.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the attack, name=value; may be repeated."),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            help="Target of a targeted attack: a class, or 'second' (the likeliest other class) or 'least'.",
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            "--positive",
            help="Of two classes the one to be found: sensitivity, specificity, F1 and AUROC are its. Default: the "
            "second.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Transfer: make the examples on this model, and judge them on yours: weights of 'meddef train', "
            "module:factory (with the weights that it sets) or module:factory:weights.safetensors.",
        ),
    ] = None,
    prune_rate: Annotated[float, typer.Option("--prune-rate", min=0.0, max=0.99)] = 0.0,
    images: Annotated[int, typer.Option("--images", min=1, help="Number of images.")] = 100,
    split: Split = "test",
    split_policy: SplitPolicy = None,
    image_size: ImageSize = None,
    profile: SettingsFrom = None,
    other_data: OtherData = False,
    data_dir: DataDir = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
    fail_under: FailUnder = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Attack saved weights; print accuracy, attack success, and what a clinician reads, before and after the attack.

    Rates have 95 % Wilson intervals, AUROC, F1 and calibration bootstrap ones, by patient where patients have several
    images. Weights that 'meddef train' wrote say which model they are of and which images were kept aside: they are
    judged on those. Others are judged on the released test images, prepared as the dataset's card says. Examples:

        meddef evaluate -w full.safetensors --attack pgd --eps 8/255 -o result.html --fail-under 0.5

        meddef evaluate -w full.safetensors --eps 1/255,2/255,4/255,8/255 -o curve.png -o curve.json

        meddef evaluate -w full.safetensors --set norm=l2 --eps 3 --targets second -o second.json

        meddef evaluate --data my_images --image-size 224 --model my_models:small_net -w mine.safetensors
        --attack ensemble --set steps=50

        meddef evaluate -w full.safetensors --attack my_attacks:mine --eps 0.03 --set steps=9

        meddef evaluate -w full.safetensors --source resnet18.safetensors --attack pgd --eps 8/255

        meddef evaluate --dataset chest_xray --model my_models:one_logit --activation sigmoid -w mine.safetensors
    """
    from meddef.attacks import ATTACKS
    from meddef.attacks.options import norm_of
    from meddef.attacks.reach import coarseness
    from meddef.commands import evaluated
    from meddef.commands.told import Told
    from meddef.evaluation.cells import batches, test_order
    from meddef.evaluation.metrics import evaluate as evaluate_attack
    from meddef.evaluation.own_model import under_sigmoid
    from meddef.evaluation.robustness_curve import minimal_eps
    from meddef.evaluation.single import bind_attack, class_named, load_model, targets_named
    from meddef.evaluation.source import load_source
    from meddef.progress import watched

    own = Own(data, csv, classes, window, channels)
    asked = Asked(dataset, variant, model, split, split_policy, image_size, profile, other_data, own)
    check_device(device)
    paths = check_output(output)
    sigmoid = is_sigmoid(activation)
    settings = parse_settings(given or [])
    targeted = _targeted(settings, targets)
    norm = norm_of(attack, settings) if attack in ATTACKS else str(settings.get("norm", "linf"))
    grid = parse_grid(eps, bounded=norm == "linf" and ":" not in attack)
    if len(grid) > 1 and targeted:
        raise InputError("--targets is for one --eps: give one, or leave --targets out")
    radii: list[float | None] = [*grid] or [None]
    bound = [bind_attack(attack, radius, settings, targeted=targeted) for radius in radii]
    if source is not None and attack == "clean":
        raise InputError("--source is of a transfer attack: give --attack, or leave --source out")
    subject = asked.subject(weights)
    splits = subject.splits(given_data_dir(data_dir), device, skip_unreadable=skip_unreadable)
    if positive is not None and len(splits.classes) > 2:
        raise InputError(f"--positive is for two classes, and there are {len(splits.classes)}: leave it out")
    chosen = 1 if positive is None else class_named(positive, splits.classes, "--positive")
    aims = None if targets is None else targets_named(targets, splits.classes)
    net, layout = load_model(
        weights, subject.models[0], splits,
        device=device, rate=prune_rate, other_data=other_data, sigmoid=sigmoid,
    )  # fmt: skip
    views = under_sigmoid(net, splits, device) if sigmoid else {"": net}
    if len(views) > 1 and (len(grid) > 1 or targeted or positive or any(is_picture(path) for path in paths)):
        raise InputError(
            "several labels are attacked one by one, at one --eps, without --targets, --positive and a picture"
        )
    part = splits.part(split)
    made = None if source is None else load_source(source, splits, device=device, sigmoid=sigmoid)

    def loader(label: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        drawn = batches(part, images, subject.profile.batch_size, device, layout)
        for x, y in watched(drawn, min(images, len(part)), attack):
            yield x, y if label is None else (y == label).long()

    def attacking(one: Attack, view: str, called: str = "") -> Attack:
        return one if made is None else made.on(view, one, called)

    first = next(iter(views))
    patients = [part.patients[row] for row in test_order(part, images)]
    shown: Callable[[Told], Found]
    if len(grid) > 1:
        known = {r: attacking(one, first, f"ε = {r:.4g}") for r, one in zip(grid, bound, strict=True) if one}
        least = minimal_eps(views[first], loader(), lambda radius: known[radius], grid)
        shown = partial(evaluated.curve, least, part, images)
    elif len(views) > 1:
        outcomes = {
            name: evaluate_attack(view, loader(label), bound[0] and attacking(bound[0], name, name))
            for label, (name, view) in enumerate(views.items())
        }
        shown = partial(evaluated.labels, outcomes, patients)
    else:
        outcome = evaluate_attack(
            views[first], loader(), bound[0] and attacking(bound[0], first), targets=aims
        )
        shown = partial(evaluated.single, outcome, splits.classes, chosen, patients)
    each = [one.keywords if one is not None else {} for one in bound]
    used = {
        key: _shared([one.get(key) for one in each]) for key in each[-1] if len(each) == 1 or key != "eps"
    }
    about = subject.about(splits) | {
        "attack": attack, "eps": grid if len(grid) > 1 else each[-1].get("eps"),
        "settings": {k: v for k, v in used.items() if k != "eps"}, "targets": targets, "prune_rate": prune_rate,
    } | ({} if made is None else {"source": made.counts()})  # fmt: skip
    what = f"{subject.name}, {splits.dataset}"
    stepping = [one for one in each if attack in ATTACKS and {"eps", "step_size", "steps"} <= {*one}]
    coarse = [coarseness(one["eps"], one["step_size"], one["steps"]) for one in stepping]
    notes = [*filter(None, coarse), *(made.told() if made else []), *subject.told(splits, images)]
    found = shown(Told(attack, each[-1].get("eps"), used, what, split, about, notes, source))
    deliver(found, paths, as_json=as_json)
    robust = found.headline.get("lowest_robust_accuracy", found.headline["robust_accuracy"])
    if fault := too_low(robust, fail_under):
        raise RunFailed(fault)


def _shared(values: list[Any]) -> Any:
    """A setting's value, or the values in the order of ε where they differ, as the step size does."""
    return values[0] if all(value == values[0] for value in values) else values


def is_sigmoid(activation: str) -> bool:
    """Whether --activation says sigmoid, and not softmax."""
    if activation not in ("softmax", "sigmoid"):
        raise InputError(f"--activation '{activation}' is unknown: use softmax or sigmoid")
    return activation == "sigmoid"


def too_low(robust: float | None, least: float | None) -> str:
    """The failure message if the robust accuracy (None: not measured) is below ``least``; else empty."""
    if least is None or (robust is not None and robust >= least):
        return ""
    measured = "was not measured" if robust is None else f"is {robust:.3f}"
    return f"robust accuracy {measured}, {least:g} required"


def _targeted(settings: dict[str, Any], targets: str | None) -> bool:
    """Whether the attack is to be targeted; takes the setting of that name out of ``settings``.

    Raises:
        InputError: it is true without targets, or false with targets.
    """
    asked = settings.pop("targeted", targets is not None)
    if not isinstance(asked, bool):
        raise InputError(f"--set targeted={asked} must be true or false")
    if asked and targets is None:
        raise InputError("--set targeted=true needs a target: give --targets with a class, second or least")
    if targets is not None and not asked:
        raise InputError("--targets is given, and --set targeted=false: leave one of them out")
    return asked
