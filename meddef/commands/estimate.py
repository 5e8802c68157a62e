"""``meddef estimate``: the time of a profile, without its data."""

from __future__ import annotations

from typing import Annotated

import typer

from meddef.commands.run import Device, ProfileOption, check_device


def estimate(
    profile: ProfileOption = "paper",
    device: Device = "cpu",
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Number of workers.")] = 1,
    passes_a_second: Annotated[
        float | None,
        typer.Option(
            "--passes-a-second", min=0.001, help="Of one worker. Default: measured now on --device."
        ),
    ] = None,
) -> None:
    """Count the cells of a profile from the stated sizes of its datasets, and estimate their time.

    A pass is one image forward and backward through the full model at the profile's size. Examples:

        meddef estimate --profile paper --device cuda --workers 8   # measures this GPU; needs no images

        meddef estimate --profile paper --passes-a-second 2000
    """
    from meddef.evaluation.checks import check_reach
    from meddef.report.cost_scaling import estimate
    from meddef.settings import load_profile

    settings = load_profile(profile)
    check_reach(settings)
    if passes_a_second is None:
        from meddef.evaluation.estimate import seconds_per_pass

        check_device(device)
        passes_a_second = 1 / seconds_per_pass(settings, device, settings.training.precision)
        print(f"{passes_a_second:.0f} passes per second measured on {device}")
    print(estimate(settings, passes_a_second, workers))
