"""Profiles: how big a run is, as strictly validated data. Unknown keys are refused."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from meddef.data.preprocessing import Preprocessing
from meddef.errors import InputError
from meddef.reading import read_yaml

Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
WITHOUT_DEFENSE = ("resnet18", "plain_capacity", "attention_only")  # variants that have no DefenseModule
Augmentation = Literal["horizontal_flip", "translate"]  # see meddef.training.augmentation


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Settings):
    """Which images, how they are split and prepared."""

    name: str
    split_policy: Literal["released", "paper", "patient"] = "paper"
    preprocessing: Preprocessing | None = None  # None: the steps the paper names for this dataset
    sizes: dict[str, int] | None = None  # phantoms only: images per split
    split_seed: int = 0


class AdversarialSettings(Settings):
    """The adversarial part of training (paper, Section IV-B)."""

    train_share: Annotated[float, Field(gt=0, le=1)] = 0.35
    validation_share: Annotated[float, Field(gt=0, le=1)] = 0.70
    steps: Positive = 40
    patience: Positive = 2  # epochs below the best validation score before easing
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02  # how far below counts as degraded
    ease_factor: Annotated[float, Field(gt=0, lt=1)] = 0.8


class TrainingSettings(Settings):
    """One training run. ``adversarial=None`` is clean training."""

    epochs: Positive = 100
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    dropout: Rate = 0.3
    class_weights: bool = False  # inverse-frequency weights in the loss
    augmentation: list[Augmentation] = []  # the paper names no technique (Section III-B1)
    pretrained: bool = False
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = True
    adversarial: AdversarialSettings | None = AdversarialSettings()

    @field_validator("augmentation")
    @classmethod
    def _each_once(cls, names: list[Augmentation]) -> list[Augmentation]:
        """In one order, that in which they are applied, so that equal trainings have equal settings."""
        if len(set(names)) < len(names):
            raise ValueError(f"names a technique twice: {', '.join(names)}")
        return [name for name in get_args(Augmentation) if name in names]


class SomeModels(Settings):
    """Which trained models are looked at."""

    seeds: list[int] | None = None  # only models of these seeds; None is every seed
    variants: list[str] | None = None  # only models of these variants; None is every variant

    def covers(self, variant: str, seed: int) -> bool:
        """Whether models of ``variant`` trained with ``seed`` belong to it."""
        return (self.seeds is None or seed in self.seeds) and (
            self.variants is None or variant in self.variants
        )


class GridSettings(SomeModels):
    """A grid of attacks on trained models; attacks map a name to its settings (without eps)."""

    images: Positive | None = None  # of the test split; None is all of it
    eps: list[Epsilon] = [0.01, 0.05, 0.10]
    rates: list[Rate] = [0.0]
    attacks: dict[str, dict[str, Any]]
    scope: Literal["global", "layer"] = "global"
    allow_short_reach: bool = False  # run attacks whose steps do not add up to their eps


class SaliencyAttackSettings(Settings):
    """PGD on the images whose maps are compared before and after it, with the paper's settings."""

    eps: Epsilon = 0.05
    step_size: Annotated[float, Field(gt=0)] | None = None  # None: the rule of meddef.attacks.reach.step_size
    steps: Positive = 40


class SaliencySettings(Settings):
    """Grad-CAM of each model on some test images, and what is measured about it."""

    images: Positive = 24
    layer: Literal["layer2", "layer3", "layer4"] = "layer3"
    removal_steps: Positive = 10  # parts in which pixels are deleted and inserted
    pgd: SaliencyAttackSettings = SaliencyAttackSettings()
    allow_short_reach: bool = False


class CurveSettings(Settings):
    """One long training, looked at on test images every few epochs: does robustness overfit (Rice et al. 2020)?"""

    variants: list[str]  # each trained adversarially, with the profile's settings but for the epochs
    seeds: list[int] = [0]
    epochs: Positive = 100
    every: Positive = 5  # epochs between two looks
    images: Positive = 200  # of the test split
    eps: Epsilon = 0.031373  # of PGD
    steps: Positive = 20


class ImagesProbe(Settings):
    """Brightness, contrast and noise of the images of a dataset before and after preprocessing; no model is asked."""

    images: Positive = 1000


class ModelProbe(SomeModels):
    """What every probe of a model takes: images, the first of the order of the test split, and the ε of its PGD, whose
    step is set by the rule of ``meddef.attacks.reach.step_size``."""

    images: Positive = 100
    eps: Annotated[float, Field(gt=0, le=1)] = 0.031373  # 8/255
    steps: Positive = 40


class ComponentsProbe(ModelProbe):
    """What becomes of a perturbation in the DefenseModule, of models that have one."""

    def covers(self, variant: str, seed: int) -> bool:
        return variant not in WITHOUT_DEFENSE and super().covers(variant, seed)


class BandsProbe(ModelProbe):
    """PGD confined to perturbations that are constant over squares of so many pixels; 1 is any."""

    factors: Annotated[list[Positive], Field(min_length=1)] = [1, 4, 16]


class VisibilityProbe(ModelProbe):
    """How visible what each attack does is; those with an ε take ``eps``, and PGD and BIM ``steps``."""

    images: Positive = 20
    attacks: dict[str, dict[str, Any]] = {"fgsm": {}, "pgd": {}, "jsma": {}}


class ShortcutsProbe(SomeModels):
    """Answers for phantoms whose marker, border or lesion was changed."""

    images: Positive = 100


class ProbesSettings(Settings):
    """Which probes are run (``meddef.probes``); None leaves one out."""

    images: ImagesProbe | None = None
    components: ComponentsProbe | None = None
    bands: BandsProbe | None = None
    regions: ModelProbe | None = None
    calibration: ModelProbe | None = None
    visibility: VisibilityProbe | None = None
    shortcuts: ShortcutsProbe | None = None

    def chosen(self) -> dict[str, Any]:
        """Name -> settings of those that are run."""
        return {name: rule for name in type(self).model_fields if (rule := getattr(self, name)) is not None}


class Profile(Settings):
    """Everything that decides what a run computes."""

    name: str
    description: str
    image_size: Annotated[int, Field(ge=28)]
    datasets: list[DatasetSettings]
    variants: list[str]
    seeds: list[int] = [0]
    batch_size: Positive = 32  # images per attack batch
    threads: Positive = 1  # per process; part of the key, since float sums depend on it
    clean_variants: list[str] = ["resnet18"]  # trained without adversarial examples
    controls: list[str] = []  # variants also trained the other way, which the paper lacks
    training: TrainingSettings
    clean_training: TrainingSettings | None = None  # None: ``training`` without its adversarial part
    grids: dict[str, GridSettings]
    saliency: SaliencySettings | None = None
    curve: CurveSettings | None = None
    probes: ProbesSettings = ProbesSettings()

    def models(self) -> list[tuple[str, TrainingSettings]]:
        """Every variant with the settings it is trained with, the controls last."""
        clean = self.clean_training or self.training.model_copy(update={"adversarial": None})
        cleanly = [(variant, variant in self.clean_variants) for variant in self.variants]
        cleanly += [(variant, variant not in self.clean_variants) for variant in self.controls]
        return [(variant, clean if is_clean else self.training) for variant, is_clean in cleanly]


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("meddef.profiles")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_profile(name_or_path: str) -> Profile:
    """A profile that comes with the package, by name, or one from a YAML file, by path.

    Raises:
        InputError: no such profile, not YAML, an unknown key or a value out of range (all are named).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(
                f"profile file '{path}' does not exist: give a path to a YAML file or one of {profile_names()}"
            )
        text = path.read_text(encoding="utf-8")
    elif name_or_path in profile_names():
        text = (resources.files("meddef.profiles") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        raise InputError(
            f"unknown profile '{name_or_path}': use one of {', '.join(profile_names())} or a .yaml file"
        )
    try:
        return Profile.model_validate(read_yaml(text, f"profile '{name_or_path}'"))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"profile '{name_or_path}': {faults}") from error
