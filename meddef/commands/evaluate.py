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
from meddef.commands.run import DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from meddef.evaluation.metrics import Evaluation

WORDS = {"true": True, "false": False, "none": None}


def evaluate(
    weights: Weights,
    dataset: Dataset = None,
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
) -> None:
    """Attack saved weights and print counts, rates and their 95 % Wilson intervals.

    Weights that 'meddef train' wrote say which model they are of and which images were kept aside: they are judged on
    those. Others are judged on the released test images, prepared as the dataset's card says. Examples:

        meddef evaluate -w full.safetensors --attack pgd --eps 8/255

        meddef evaluate --dataset chest_xray --image-size 224 --model my_models:small_net -w mine.safetensors
        --attack ensemble --set steps=50
    """
    from meddef.evaluation.single import bind_attack, evaluate_weights

    asked = Asked(dataset, variant, model, split, split_policy, image_size, profile, other_data)
    check_device(device)
    bound = bind_attack(attack, None if eps is None else parse_eps(eps), parse_settings(given or []))
    subject = asked.subject(weights)
    splits = subject.splits(given_data_dir(data_dir), device, skip_unreadable=skip_unreadable)
    outcome = evaluate_weights(
        weights, subject.models[0], splits, bound, rate=prune_rate, images=images,
        batch_size=subject.profile.batch_size, device=device, part=split, other_data=other_data,
    )  # fmt: skip
    used = bound.keywords if bound else {}
    told = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in used.items())
    title = f"{attack} ({told})" if told else attack
    _print(outcome, f"{title} on {subject.name}, {splits.dataset}, {outcome.counts.n} {split} images")
    for line in subject.told(splits, images):
        print(line)


def _print(outcome: Evaluation, title: str) -> None:
    table = Table(title=title)
    for column in ("measure", "count", "rate", "95 % interval"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, rate in (
        ("clean accuracy", outcome.clean_accuracy),
        ("robust accuracy", outcome.robust_accuracy),
        ("attack success rate", outcome.asr),
    ):
        low, high = rate.interval
        table.add_row(name, f"{rate.hits}/{rate.n}", f"{rate.value:.2%}", f"{low:.2%} to {high:.2%}")
    Console().print(table)
    print(f"largest change of a pixel {outcome.linf:.4f}, most features changed {outcome.l0}")


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


def parse_eps(text: str, option: str = "--eps") -> float:
    """A perturbation budget written as a number or a fraction: "0.05", "8/255"."""
    try:
        value = float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} '{text}' is not a number: write 0.03 or 8/255") from error
    if not 0 <= value <= 1:
        raise InputError(
            f"{option} {text} is out of range: images lie in [0, 1], so use 0 <= eps <= 1 (8/255, not 8)"
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
