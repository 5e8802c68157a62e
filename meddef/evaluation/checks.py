"""Validation of a profile: variants, attacks with their settings and reach, probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddef.attacks import ATTACKS
from meddef.attacks.options import check_options, shortfall
from meddef.data.source_phantom import FAMILY
from meddef.errors import InputError
from meddef.models import KNOWN_VARIANTS
from meddef.probes.registry import PROBES
from meddef.settings import Profile


def check_profile(profile: Profile) -> None:
    """Refuse unknown names, and settings that an attack or a dataset does not take.

    Raises:
        InputError: one line that names the place and what would fit.
    """
    where = f"profile '{profile.name}'"
    trained = {*profile.variants, *profile.controls, *profile.rivals, *profile.noisy}
    for variant in [
        *profile.variants,
        *profile.clean_variants,
        *profile.controls,
        *profile.rivals,
        *profile.noisy,
    ]:
        if variant not in KNOWN_VARIANTS:
            raise InputError(f"{where}: unknown variant '{variant}', use {', '.join(KNOWN_VARIANTS)}")
    probes = {name: rule for name, rule in profile.probes.chosen().items() if name in PROBES}
    some = {f"grids.{name}": grid for name, grid in profile.grids.items()}
    for place, chosen in {**some, **{f"probes.{name}": rule for name, rule in probes.items()}}.items():
        for variant in set(chosen.variants or ()) - trained:
            raise InputError(f"{where}, {place}: '{variant}' is not among the profile's variants")
    tables = [grid.attacks for grid in profile.grids.values()]
    tables += [profile.probes.visibility.attacks] if profile.probes.visibility else []
    for name, settings in [item for attacks in tables for item in attacks.items()]:
        if name not in ATTACKS:
            raise InputError(f"{where}: unknown attack '{name}', use {', '.join(ATTACKS)}")
        check_options(name, settings)
    for name in probes:
        drawn = all(dataset.name in FAMILY for dataset in profile.datasets)
        if PROBES[name].on_phantoms and not drawn:
            raise InputError(f"{where}, probes.{name}: it needs images whose lesions are known: phantoms")


def check_reach(profile: Profile) -> None:
    """Refuse attacks that cannot reach the boundary of their ball, unless the profile allows it.

    Raises:
        InputError: one line that names the place, the steps, the step size and the ε.
    """
    tried: list[tuple[str, str, Mapping[str, Any], float]] = []
    for name, grid in profile.grids.items():
        if not grid.allow_short_reach:
            tried += [
                (f"grids.{name}", a, given, eps) for a, given in grid.attacks.items() for eps in grid.eps
            ]
    if profile.saliency is not None and not profile.saliency.allow_short_reach:
        settings = profile.saliency.pgd.model_dump()
        tried.append(("saliency", "pgd", settings, settings.pop("eps")))
    if visible := profile.probes.visibility:
        tried += [
            ("probes.visibility", a, {"steps": visible.steps} | given, visible.eps)
            for a, given in visible.attacks.items()
        ]
    for place, attack, given, eps in tried:
        if short := shortfall(attack, given, eps):
            other = ", leave step_size out" if "step_size" in given else ""
            if not place.startswith("probes"):
                other += ", or say allow_short_reach: true"
            raise InputError(
                f"profile '{profile.name}', {place}: {attack} cannot reach its ε: {short}{other}"
            )
