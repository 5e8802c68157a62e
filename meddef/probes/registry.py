"""The probes by name, registered here and, with their settings, in ``meddef.settings.ProbesSettings``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from meddef.probes import calibration, components, confinement, shortcuts, visibility
from meddef.settings import BandsProbe, ComponentsProbe, ModelProbe, ShortcutsProbe, VisibilityProbe


@dataclass(frozen=True)
class Probe:
    """A measurement on a model.

    Attributes:
        measure: function of a model, images (N, 3, H, W), labels (N,), the settings, and further image data by name;
            one number per image by name, (N,), NaN where there is none.
    """

    measure: Callable[..., Mapping[str, Tensor]]
    rule: type[Any]
    on_phantoms: bool = False


PROBES: dict[str, Probe] = {
    "components": Probe(components.measure, ComponentsProbe),
    "bands": Probe(confinement.bands, BandsProbe),
    "regions": Probe(confinement.regions, ModelProbe, on_phantoms=True),
    "calibration": Probe(calibration.measure, ModelProbe),
    "visibility": Probe(visibility.measure, VisibilityProbe),
    "shortcuts": Probe(shortcuts.measure, ShortcutsProbe, on_phantoms=True),
}
