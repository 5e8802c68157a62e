"""Measurements on trained models: attack grids, saliency, probes, defences, transfer, a long training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from meddef.catalogue import VARIANTS
from meddef.settings.base import AttackSettings, Epsilon, OfModels, Positive, Rate, Settings, SomeModels

WITHOUT_DEFENSE = tuple(row.name for row in VARIANTS.values() if row.components is None)
"""Names of the variants without a ``DefenseModule``."""


class GridSettings(AttackSettings):
    """A grid of attacks on trained models, whole and pruned."""

    rates: list[Rate] = [0.0]
    scope: Literal["global", "layer"] = "global"


class TransferSettings(AttackSettings):
    """Adversarial images of each model, evaluated on all models of the same seed, itself included."""

    trainings: list[str] | None = None  # only models trained so, as records name it; None is all


class UniversalSettings(OfModels):
    """One universal perturbation (``meddef.attacks.universal``), fitted on training images."""

    trainings: list[str] | None = None
    eps: list[Epsilon] = [0.01, 0.05, 0.10]
    fit_images: Positive = 256  # of the training split
    method: Literal["hirano", "sgd"] = "sgd"
    epochs: Positive = 10


class CertifySettings(Settings):
    """Certificates of a smoothed classifier, and L2 attacks at some radii to compare them with."""

    images: Positive = 100
    chosen_from: Positive = 100
    samples: Positive = 1000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    radii: list[Annotated[float, Field(gt=0)]] = [0.25, 0.5]  # pixel units
    steps: Positive = 20


class DefenseChoice(Settings):
    """A defence of ``meddef.defenses`` and the models it wraps."""

    defense: str
    settings: dict[str, Any] = {}
    trainings: list[str] | None = None
    certify: CertifySettings | None = None  # of smoothing


class DefenseSettings(AttackSettings):
    """Defences around trained models, each under a naive, an adaptive and a transfer attack."""

    choices: dict[str, DefenseChoice]  # under any name
    fit_images: Positive = 256  # of the training split, for a defence that learns


class SaliencyAttackSettings(Settings):
    """PGD with the paper's settings, before and after which the saliency maps are compared."""

    eps: Epsilon = 0.05
    step_size: Annotated[float, Field(gt=0)] | None = None  # None: the rule of meddef.attacks.reach.step_size
    steps: Positive = 40


class SaliencySettings(Settings):
    """Grad-CAM of each model on some test images, and its measures."""

    images: Positive = 24
    layer: Literal["layer2", "layer3", "layer4"] = "layer3"
    removal_steps: Positive = 10  # parts in which pixels are deleted and inserted
    pgd: SaliencyAttackSettings = SaliencyAttackSettings()
    allow_short_reach: bool = False


class CurveSettings(Settings):
    """One long training, evaluated on test images every few epochs: does robustness overfit (Rice et al. 2020)?"""

    variants: list[str]  # each trained adversarially, with the profile's settings but for the epochs
    seeds: list[int] = [0]
    epochs: Positive = 100
    every: Positive = 5  # epochs between two looks
    images: Positive = 200  # of the test split
    eps: Epsilon = 0.031373  # of PGD
    steps: Positive = 20


class ImagesProbe(Settings):
    """Brightness, contrast and noise of a dataset's images before and after preprocessing; needs no model."""

    images: Positive = 1000


class ModelProbe(SomeModels):
    """Settings common to all probes of a model: the number of test images and the ε of PGD, whose step size follows
    ``meddef.attacks.reach.step_size``."""

    images: Positive = 100
    eps: Annotated[float, Field(gt=0, le=1)] = 0.031373  # 8/255
    steps: Positive = 40


class ComponentsProbe(ModelProbe):
    """The perturbation before and after the DefenseModule, for models that have one."""

    def covers(self, variant: str, seed: int) -> bool:
        return variant not in WITHOUT_DEFENSE and super().covers(variant, seed)


class BandsProbe(ModelProbe):
    """PGD confined to perturbations constant over squares of so many pixels; 1 is unconfined."""

    factors: Annotated[list[Positive], Field(min_length=1)] = [1, 4, 16]


class VisibilityProbe(ModelProbe):
    """Visibility of each attack's perturbation; those with an ε take ``eps``, and PGD and BIM ``steps``."""

    images: Positive = 20
    attacks: dict[str, dict[str, Any]] = {"fgsm": {}, "pgd": {}, "jsma": {}}


class ShortcutsProbe(SomeModels):
    """Predictions for phantoms whose marker, border or lesion was changed."""

    images: Positive = 100


class ProbesSettings(Settings):
    """The probes to run (``meddef.probes``); None skips one."""

    images: ImagesProbe | None = None
    components: ComponentsProbe | None = None
    bands: BandsProbe | None = None
    regions: ModelProbe | None = None
    calibration: ModelProbe | None = None
    visibility: VisibilityProbe | None = None
    shortcuts: ShortcutsProbe | None = None

    def chosen(self) -> dict[str, Any]:
        """Name -> settings of the probes to run."""
        return {name: rule for name in type(self).model_fields if (rule := getattr(self, name)) is not None}
