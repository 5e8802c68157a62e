"""``meddef check-robustness``: is the robustness of a model real? For the paper's models and for your own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meddef.commands.evaluate import (
    Dataset,
    ImageSize,
    OwnModel,
    SettingsFrom,
    Variant,
    Weights,
    chosen_model,
    parse_eps,
)
from meddef.commands.run import RUNS, DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError

if TYPE_CHECKING:
    from meddef.audit.robustness import Item

COLOURS = {"PASS": "green", "FAIL": "red", "N-A": "yellow"}


def check_robustness(
    dataset: Dataset,
    weights: Weights,
    eps: Annotated[str, typer.Option("--eps", help="Radius in pixel units: 0.05 or 8/255.")],
    variant: Variant = None,
    model: OwnModel = None,
    twin_weights: Annotated[
        Path | None,
        typer.Option("--twin-weights", help="Weights of the same model trained without a defence."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="brief (24 images), quick (64) or standard (256).")
    ] = "quick",
    as_json: Annotated[bool, typer.Option("--json", help="Print the items as JSON.")] = False,
    image_size: ImageSize = None,
    profile: SettingsFrom = "smoke",
    data_dir: DataDir = None,
    device: Device = "cpu",
    skip_unreadable: Skip = False,
) -> None:
    """Check whether saved weights are robust or whether attacks on them fail: PASS, FAIL or N-A with numbers.

    Exit code 0 when the checks ran, whatever they found. Example:

        meddef check-robustness --dataset phantom_oct --variant full -w full.safetensors --eps 8/255
    """
    from meddef.audit import robustness_report
    from meddef.audit.robustness import BUDGETS
    from meddef.evaluation.cells import batches
    from meddef.evaluation.plan import RunOptions, splits_of
    from meddef.evaluation.single import check_weights, load_model
    from meddef.progress import progress_bar
    from meddef.settings import DatasetSettings, load_profile

    settings = load_profile(profile)
    check_device(device)
    if budget not in BUDGETS:
        raise InputError(f"--budget '{budget}' is unknown: use one of {', '.join(BUDGETS)}")
    if image_size is not None:
        settings = settings.model_copy(update={"image_size": image_size})
    chosen = next((d for d in settings.datasets if d.name == dataset), DatasetSettings(name=dataset))
    options = RunOptions(RUNS / settings.name, given_data_dir(data_dir), device, skip_unreadable)
    radius = parse_eps(eps)
    files = [weights] if twin_weights is None else [weights, twin_weights]
    for file in files:
        check_weights(file)
    nets = [chosen_model(variant, model) for _ in files]
    splits = splits_of(chosen, settings, options, progress=True)
    loaded = [load_model(file, net, splits, device=device) for file, net in zip(files, nets, strict=True)]
    (net, layout), twin = loaded[0], loaded[1][0] if len(loaded) > 1 else None
    loader = batches(splits.test, BUDGETS[budget].images, settings.batch_size, device, layout)
    with progress_bar(1, "checks", enabled=not as_json) as bar:

        def report(done: int, of: int) -> None:
            bar.total = of
            bar.update()

        items = robustness_report(net, loader, eps=radius, budget=budget, twin=twin, progress=report)
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in items], ensure_ascii=False, indent=1))
    else:
        _print_table(items, f"{variant or model} on {dataset}, ε = {radius:.4g}")


def summary(items: list[Item]) -> str:
    """How many items have each verdict."""
    counts = Counter[str](item.verdict for item in items)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in COLOURS)


def _print_table(items: list[Item], title: str) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("verdict", "item", title=title, box=SIMPLE)
    for item in items:
        also = f"\nIf not the model: {item.also}." if item.verdict == "FAIL" else ""
        words = Text(item.verdict, style=COLOURS[item.verdict], no_wrap=True)
        table.add_row(words, Text.assemble((item.name, "bold"), f"\n{item.detail}{also}"))
    console = Console()
    console.print(table)
    console.print(summary(items), highlight=False)
