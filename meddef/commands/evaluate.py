"""``meddef evaluate`` (one attack on saved weights) and ``meddef attacks`` (what there is to attack with)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from meddef.commands.run import RUNS, DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from meddef.evaluation.metrics import Evaluation

Dataset = Annotated[str, typer.Option("--dataset", help="Such as chest_xray or phantom_oct.")]
Weights = Annotated[
    Path, typer.Option("--weights", "-w", help="A .safetensors file, such as 'meddef train' writes.")
]
Variant = Annotated[
    str | None, typer.Option("--variant", help="The model of the paper that the weights belong to.")
]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Instead of --variant a model of your own, module:factory. The factory is called without arguments "
        "and returns a torch.nn.Module from images (N, 3, H, W) in [0, 1] to logits, one a class.",
    ),
]
ImageSize = Annotated[
    int | None, typer.Option("--image-size", min=32, help="Side in pixels. Default: the profile's.")
]
SettingsFrom = Annotated[
    str, typer.Option("--profile", "-p", help="Where the image size and the dataset's settings come from.")
]
WORDS = {"true": True, "false": False, "none": None}


def evaluate(
    dataset: Dataset,
    weights: Weights,
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
    images: Annotated[int, typer.Option("--images", min=1, help="How many test images.")] = 100,
    image_size: ImageSize = None,
    profile: SettingsFrom = "smoke",
    data_dir: DataDir = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Attack saved weights and print counts, rates and their 95 % Wilson intervals.

    Examples:

        meddef evaluate --dataset phantom_oct --variant full -w full.safetensors --attack pgd --eps 8/255

        meddef evaluate --dataset chest_xray --image-size 224 --model my_models:small_net -w mine.safetensors
        --attack ensemble --set steps=50
    """
    from meddef.evaluation.plan import RunOptions, splits_of
    from meddef.evaluation.single import bind_attack, check_weights, evaluate_weights
    from meddef.settings import DatasetSettings, load_profile

    settings = load_profile(profile)
    check_device(device)
    bound = bind_attack(attack, None if eps is None else parse_eps(eps), parse_settings(given or []))
    check_weights(weights)
    judged = chosen_model(variant, model)
    if image_size is not None:
        settings = settings.model_copy(update={"image_size": image_size})
    chosen = next((d for d in settings.datasets if d.name == dataset), DatasetSettings(name=dataset))
    options = RunOptions(RUNS / settings.name, given_data_dir(data_dir), device, skip_unreadable)
    splits = splits_of(chosen, settings, options, progress=True)
    outcome = evaluate_weights(
        weights, judged, splits, bound,
        rate=prune_rate, images=images, batch_size=settings.batch_size, device=device,
    )  # fmt: skip
    used = bound.keywords if bound else {}
    told = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in used.items())
    _print(outcome, f"{attack} ({told})" if told else attack, f"{variant or model}, {dataset}")


def _print(outcome: Evaluation, attack: str, target: str) -> None:
    table = Table(title=f"{attack} on {target}, {outcome.counts.n} test images")
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


def chosen_model(variant: str | None, model: str | None) -> str | nn.Module:
    """The variant's name, or the model that the user's factory makes; exactly one of the two must be given."""
    from meddef.evaluation.own_model import build_own_model

    if (variant is None) == (model is None):
        raise InputError("give either --variant (a model of the paper) or --model (one of your own)")
    return variant or build_own_model(str(model))


def parse_eps(text: str) -> float:
    """A perturbation budget written as a number or a fraction: "0.05", "8/255"."""
    try:
        value = float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"--eps '{text}' is not a number: write 0.03 or 8/255") from error
    if not 0 <= value <= 1:
        raise InputError(
            f"--eps {text} is out of range: images lie in [0, 1], so use 0 <= eps <= 1 (8/255, not 8)"
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
