"""``meddef evaluate`` (one attack on saved weights) and ``meddef attacks`` (what there is to attack with)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

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
from meddef.commands.output import AsJson, Output, check_output, deliver
from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window
from meddef.commands.run import DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meddef.evaluation.metrics import Evaluation
    from meddef.statistics import Proportion

WORDS = {"true": True, "false": False, "none": None}


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
    attack: Annotated[
        str, typer.Option("--attack", help="clean, or one of those that 'meddef attacks' lists.")
    ] = "pgd",
    eps: Annotated[
        str | None, typer.Option("--eps", help="Budget in pixel units: 0.05 or 8/255. Default: the paper's.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the attack, name=value; may be given several times."),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            help="Of a targeted attack: the class to reach, or 'second' (the likeliest other class) or 'least'.",
        ),
    ] = None,
    prune_rate: Annotated[float, typer.Option("--prune-rate", min=0.0, max=0.99)] = 0.0,
    images: Annotated[int, typer.Option("--images", min=1, help="How many images.")] = 100,
    split: Split = "test",
    split_policy: SplitPolicy = None,
    image_size: ImageSize = None,
    profile: SettingsFrom = None,
    other_data: OtherData = False,
    data_dir: DataDir = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Attack saved weights and print counts, rates and their 95 % Wilson intervals.

    Weights that 'meddef train' wrote say which model they are of and which images were kept aside: they are judged on
    those. Others are judged on the released test images, prepared as the dataset's card says. Examples:

        meddef evaluate -w full.safetensors --attack pgd --eps 8/255

        meddef evaluate -w full.safetensors --set norm=l2 --eps 3 --targets second -o second.json

        meddef evaluate --data my_images --image-size 224 --model my_models:small_net -w mine.safetensors
        --attack ensemble --set steps=50
    """
    from meddef.evaluation.single import bind_attack, evaluate_weights, targets_named

    own = Own(data, csv, classes, window, channels)
    asked = Asked(dataset, variant, model, split, split_policy, image_size, profile, other_data, own)
    check_device(device)
    check_output(output)
    settings = parse_settings(given or [])
    targeted = _targeted(settings, targets)
    radius = None if eps is None else parse_eps(eps, bounded=settings.get("norm", "linf") == "linf")
    bound = bind_attack(attack, radius, settings, targeted=targeted)
    subject = asked.subject(weights)
    splits = subject.splits(given_data_dir(data_dir), device, skip_unreadable=skip_unreadable)
    outcome = evaluate_weights(
        weights, subject.models[0], splits, bound, rate=prune_rate, images=images,
        batch_size=subject.profile.batch_size, device=device, part=split, other_data=other_data,
        targets=None if targets is None else targets_named(targets, splits.classes),
    )  # fmt: skip
    used = bound.keywords if bound else {}
    rates = _rates(outcome)
    if not as_json:
        shown = used | ({} if targets is None else {"targets": targets})
        told = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
        title = f"{attack} ({told})" if told else attack
        _print(rates, f"{title} on {subject.name}, {splits.dataset}, {outcome.counts.n} {split} images")
        print(f"largest change of a pixel {outcome.linf:.4f}, most features changed {outcome.l0}")
    for line in subject.told(splits, images):
        typer.echo(line, err=as_json)
    about = subject.about(splits) | {
        "attack": attack, "eps": used.get("eps"), "settings": {k: v for k, v in used.items() if k != "eps"},
        "targets": targets, "prune_rate": prune_rate, "n": outcome.counts.n,
    }  # fmt: skip
    headline = {name.replace(" ", "_"): rate.value for name, rate in rates.items()} | {
        "largest_change": outcome.linf, "most_features_changed": outcome.l0,
    }  # fmt: skip
    rows = [
        {"measure": name, "hits": rate.hits, "of": rate.n, "rate": rate.value}
        | dict(zip(("low", "high"), rate.interval, strict=True))
        for name, rate in rates.items()
    ]
    deliver(about, headline, rows, called="rates", path=output, as_json=as_json)


def _targeted(settings: dict[str, Any], targets: str | None) -> bool:
    """Whether the attack is to be targeted; takes the setting of that name out of ``settings``.

    Raises:
        InputError: it says yes and there is nothing to reach, or no and there is.
    """
    asked = settings.pop("targeted", targets is not None)
    if not isinstance(asked, bool):
        raise InputError(f"--set targeted={asked} must be true or false")
    if asked and targets is None:
        raise InputError(
            "--set targeted=true needs the class to reach: give --targets with a class, second or least"
        )
    if targets is not None and not asked:
        raise InputError("--targets is given, and --set targeted=false: leave one of them out")
    return asked


def _rates(outcome: Evaluation) -> dict[str, Proportion]:
    rates = {
        "clean accuracy": outcome.clean_accuracy,
        "robust accuracy": outcome.robust_accuracy,
        "attack success rate": outcome.asr,
    }
    return rates if outcome.targets is None else rates | {"targeted success": outcome.targeted_success}


def _print(rates: Mapping[str, Proportion], title: str) -> None:
    table = Table(title=title)
    for column in ("measure", "count", "rate", "95 % interval"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, rate in rates.items():
        low, high = rate.interval
        table.add_row(name, f"{rate.hits}/{rate.n}", f"{rate.value:.2%}", f"{low:.2%} to {high:.2%}")
    Console().print(table)


def attacks() -> None:
    """List the attacks with their settings (for --set, with defaults: the paper's, if it has one) and sources."""
    from meddef.attacks import ATTACKS
    from meddef.attacks.options import options
    from meddef.attacks.registry import SOURCES

    table = Table(caption="meddef evaluate --attack NAME --eps 8/255 --set steps=100", show_lines=True)
    for column in ("attack", "settings and defaults", "source"):
        table.add_column(column, overflow="fold")
    for name, attack in ATTACKS.items():
        eps = [f"eps={attack.keywords['eps']} (--eps)"] if "eps" in attack.keywords else []
        known = [*eps, *(f"{key}={value}" for key, value in options(name).items())]
        table.add_row(name, "\n".join(known), SOURCES[name].replace(", https", "\nhttps"))
    Console().print(table)


def parse_eps(text: str, option: str = "--eps", *, bounded: bool = True) -> float:
    """A perturbation budget written as a number or a fraction: "0.05", "8/255"; ``bounded``: at most 1, as L-inf is."""
    try:
        value = float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} '{text}' is not a number: write 0.03 or 8/255") from error
    if value < 0 or (bounded and value > 1):
        other = ", or for a length in L2 --attack pgd --set norm=l2" if option == "--eps" else ""
        raise InputError(
            f"{option} {text} is out of range: images lie in [0, 1], so use 0 <= eps <= 1 (8/255, not 8){other}"
        )
    return value


def parse_settings(given: list[str]) -> dict[str, Any]:
    """["steps=100", "step_size=2/255", "fast=true"] as names and values; a name given twice is refused."""
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise InputError(f"--set '{text}' is not of the form name=value, such as steps=100")
        if name in found:
            raise InputError(f"--set {name} is given twice")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for read in (int, lambda number: float(Fraction(number))):
        try:
            return read(text)
        except (ValueError, ZeroDivisionError):
            pass
    return text
