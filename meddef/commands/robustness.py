"""``meddef check-robustness``: is the robustness of a model real? For the paper's models and your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meddef.commands.attacks import parse_eps
from meddef.commands.evaluate import Activation, is_sigmoid, too_low
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
from meddef.commands.output import AsJson, Found, Output, check_output, deliver
from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window
from meddef.commands.run import DataDir, Device, Skip, check_device, given_data_dir
from meddef.errors import InputError, RunFailed

if TYPE_CHECKING:
    from meddef.report.display import Table
    from meddef.robustness import CheckResult


def check_robustness(
    weights: Weights,
    eps: Annotated[str, typer.Option("--eps", help="Radius in pixel units: 0.05 or 8/255.")],
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    variant: Variant = None,
    model: OwnModel = None,
    activation: Activation = "softmax",
    twin_weights: Annotated[
        Path | None,
        typer.Option("--twin-weights", help="Weights of the same model trained without a defence."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="brief (24 images), quick (64) or standard (256).")
    ] = "quick",
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="Exit with 1 if an item has this verdict: FAIL, N-A or never.")
    ] = "never",
    min_robust: Annotated[
        float | None,
        typer.Option(
            "--min-robust",
            "--fail-under",
            min=0,
            max=1,
            help="Exit with 1 if worst-case robust accuracy is below this.",
        ),
    ] = None,
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
    """Check whether a model is robust or attacks on it merely fail: PASS, FAIL or N-A, with numbers.

    On the images that the weights say were kept aside, else on the released test images, as 'meddef evaluate'. Exit
    code 0 when the checks ran, unless --fail-on or --min-robust ask for more. Examples:

        meddef check-robustness -w full.safetensors --eps 8/255

        meddef check-robustness -w full.safetensors --eps 8/255 --fail-on FAIL --min-robust 0.5 --json
    """
    from meddef.audit import robustness_report
    from meddef.evaluation.cells import batches
    from meddef.evaluation.own_model import under_sigmoid
    from meddef.evaluation.single import load_model
    from meddef.progress import progress_bar
    from meddef.robustness import BUDGETS
    from meddef.robustness.headline import closing, headline, words

    if fail_on not in ("FAIL", "N-A", "never"):
        raise InputError(f"--fail-on '{fail_on}' is unknown: use FAIL, N-A or never")
    own = Own(data, csv, classes, window, channels)
    asked = Asked(dataset, variant, model, split, split_policy, image_size, profile, other_data, own)
    check_device(device)
    paths = check_output(output, pictures=False)
    sigmoid = is_sigmoid(activation)
    if budget not in BUDGETS:
        raise InputError(f"--budget '{budget}' is unknown: use one of {', '.join(BUDGETS)}")
    radius = parse_eps(eps)
    files = [weights] if twin_weights is None else [weights, twin_weights]
    subject = asked.subject(*files)
    splits = subject.splits(given_data_dir(data_dir), device, skip_unreadable=skip_unreadable)
    nets = []
    for file, empty in zip(files, subject.models, strict=True):
        one, layout = load_model(file, empty, splits, device=device, other_data=other_data, sigmoid=sigmoid)
        views = list(under_sigmoid(one, splits, device).values()) if sigmoid else [one]
        if len(views) > 1:
            raise InputError(
                "check-robustness is for one logit under a sigmoid: several labels, meddef evaluate"
            )
        nets += views
    net, twin = nets[0], nets[1] if len(nets) > 1 else None
    count = BUDGETS[budget].images
    loader = batches(splits.part(split), count, subject.profile.batch_size, device, layout)
    with progress_bar(1, "checks", enabled=not as_json) as bar:

        def report(done: int, of: int) -> None:
            bar.total = of
            bar.update()

        items = robustness_report(net, loader, eps=radius, budget=budget, twin=twin, progress=report)
    found = headline(items)
    deliver(
        Found(
            summary=words(found, radius),
            about=subject.about(splits)
            | {"eps": radius, "norm": "linf", "budget": budget, "n": found["images"]},
            headline=found,
            rows={"items": [item.as_dict() for item in items]},
            csv=("items",),
            tables=[_table(items, f"{subject.name} on {splits.dataset}, ε = {radius:.4g}")],
            notes=[*subject.told(splits, count), closing(found)],
        ),
        paths,
        as_json=as_json,
    )
    named = [item.name for item in items if item.verdict == fail_on]
    faults = [f"{fail_on}: {', '.join(named)}"] if named else []
    if faults := [*faults, *filter(None, [too_low(found["robust_accuracy"], min_robust)])]:
        raise RunFailed("; ".join(faults))


def _table(items: list[CheckResult], title: str) -> Table:
    import pandas as pd

    from meddef.report.display import Table

    also = [f"\nIf not the model: {item.also}." if item.verdict == "FAIL" else "" for item in items]
    cells = [f"{item.name}\n{item.detail}{more}" for item, more in zip(items, also, strict=True)]
    frame = pd.DataFrame({"verdict": [item.verdict for item in items], "item": cells})
    return Table(frame, title, left=("item",))
