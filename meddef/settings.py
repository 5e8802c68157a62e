"""Profiles: how big a run is, as strictly validated data. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from meddef.catalogue import VARIANTS, usual_training
from meddef.data.cards import Card, add_card
from meddef.data.preprocessing import Preprocessing
from meddef.errors import InputError
from meddef.reading import read_yaml

Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
WITHOUT_DEFENSE = tuple(row.name for row in VARIANTS.values() if row.components is None)
Noise = Literal["noise_12", "noise_25"]
Augmentation = Literal["horizontal_flip", "translate", Noise]  # see meddef.training.augmentation
Method = Literal["meddef", "madry", "fast", "trades"]  # see meddef.training.methods
PAPERS_METHOD: Method = "meddef"
TRAININGS = ("clean", "adversarial")  # those of the paper, as records name them; any other is a rival


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Settings):
    """Which images, how they are split and prepared.

    A dataset of one's own brings its card, which is known from then on. Without a card none is written, so that what
    was recorded keeps its keys.
    """

    name: str
    card: Card | None = None  # None: that of this name in meddef/data/cards.yaml
    split_policy: Literal["released", "paper", "patient"] = "paper"
    preprocessing: Preprocessing | None = None  # None: the steps the paper names for this dataset
    sizes: dict[str, int] | None = None  # phantoms only: images per split
    split_seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """The card goes by the name of the dataset."""
        if isinstance(given, dict) and isinstance(card := given.get("card"), dict):
            return given | {"card": card | {"name": given.get("name")}}
        return given

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.card is not None:
            add_card(self.card)
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name != "card" or value is not None}


class AdversarialSettings(Settings):
    """How training defends: the paper's recipe (Section IV-B) or a rival, which trains at one epsilon throughout.

    A setting that the method does not use is refused where it is given, and is not written: what was recorded of the
    paper's recipe before there were rivals keeps its keys.
    """

    method: Method = PAPERS_METHOD
    train_share: Annotated[float, Field(gt=0, le=1)] = 0.35
    validation_share: Annotated[float, Field(gt=0, le=1)] = 0.70
    steps: Positive = 40  # of PGD, in training (fast: in validation alone) and validation
    patience: Positive = 2  # epochs below the best validation score before easing
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02  # how far below counts as degraded
    ease_factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    epsilon: Annotated[float, Field(gt=0, le=1)] = 8 / 255  # pixel units, L-infinity
    random_start: bool = True
    beta: Annotated[float, Field(gt=0)] = 6.0  # weight of the divergence

    @model_validator(mode="after")
    def _used(self) -> Self:
        if unused := self.model_fields_set & _unused(self.method):
            raise ValueError(f"method {self.method} does not use {', '.join(sorted(unused))}: leave it out")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = _unused(self.method) | ({"method"} if self.method == PAPERS_METHOD else set())
        return {name: value for name, value in handler(self).items() if name not in unused}

    @property
    def name(self) -> str:
        """What records call this training: "adversarial" is the paper's; of a rival what is not the default follows."""
        if self.method == PAPERS_METHOD:
            return "adversarial"
        fields = type(self).model_fields
        others = [n for n in OWN_SETTINGS[self.method] if getattr(self, n) != fields[n].default]
        return " ".join([self.method, *(f"{n}={getattr(self, n):.5g}" for n in others)])


OWN_SETTINGS: dict[Method, tuple[str, ...]] = {
    "meddef": ("train_share", "patience", "tolerance", "ease_factor"),
    "madry": ("epsilon",),
    "fast": ("epsilon", "random_start"),
    "trades": ("epsilon", "beta"),
}
"""Those of ``AdversarialSettings`` that not every method uses."""


def _unused(method: Method) -> set[str]:
    return {name for names in OWN_SETTINGS.values() for name in names} - {*OWN_SETTINGS[method]}


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

    @property
    def name(self) -> str:
        """What records call this training: "clean", "adversarial" (the paper's recipe), a rival's name, "noise_25"."""
        noise = [name for name in self.augmentation if name in get_args(Noise)]
        base = self.adversarial.name if self.adversarial else "" if noise else "clean"
        return " ".join([base, *noise]).strip()

    @field_validator("augmentation")
    @classmethod
    def _each_once(cls, names: list[Augmentation]) -> list[Augmentation]:
        """In one order, that in which they are applied, so that equal trainings have equal settings."""
        if len(set(names)) < len(names):
            raise ValueError(f"names a technique twice: {', '.join(names)}")
        return [name for name in get_args(Augmentation) if name in names]


def training_name(content: Mapping[str, Any]) -> str:
    """``TrainingSettings.name`` of a training as a cell or a record holds it."""
    return TrainingSettings.model_validate(content).name


class SomeModels(Settings):
    """Which trained models are looked at."""

    seeds: list[int] | None = None  # only models of these seeds; None is every seed
    variants: list[str] | None = None  # only models of these variants; None is every variant

    def covers(self, variant: str, seed: int) -> bool:
        """Whether models of ``variant`` trained with ``seed`` belong to it."""
        return (self.seeds is None or seed in self.seeds) and (
            self.variants is None or variant in self.variants
        )


class OfModels(SomeModels):
    """What is done to some of the trained models, with some of the test images."""

    images: Positive | None = None  # of the test split; None is all of it


class AttackSettings(OfModels):
    """Attacks on trained models; they map a name to its settings (without eps)."""

    eps: list[Epsilon] = [0.01, 0.05, 0.10]
    attacks: dict[str, dict[str, Any]]
    allow_short_reach: bool = False  # run attacks whose steps do not add up to their eps


class GridSettings(AttackSettings):
    """A grid of attacks on trained models, whole and pruned."""

    rates: list[Rate] = [0.0]
    scope: Literal["global", "layer"] = "global"


class TransferSettings(AttackSettings):
    """Attacked images of each model shown to all of the same seed, itself among them."""

    trainings: list[str] | None = None  # only models trained so, as records name it; None is all


class UniversalSettings(OfModels):
    """One perturbation for all images (``meddef.attacks.universal``), fitted on training images."""

    trainings: list[str] | None = None
    eps: list[Epsilon] = [0.01, 0.05, 0.10]
    fit_images: Positive = 256  # of the training split
    method: Literal["hirano", "sgd"] = "sgd"
    epochs: Positive = 10


class CertifySettings(Settings):
    """Certificates of a smoothed classifier, and L2 attacks at some radii to hold against them."""

    images: Positive = 100
    chosen_from: Positive = 100
    samples: Positive = 1000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    radii: list[Annotated[float, Field(gt=0)]] = [0.25, 0.5]  # pixel units
    steps: Positive = 20


class DefenseChoice(Settings):
    """A defence of ``meddef.defenses`` and the models that it is put around."""

    defense: str
    settings: dict[str, Any] = {}
    trainings: list[str] | None = None
    certify: CertifySettings | None = None  # of smoothing


class DefenseSettings(AttackSettings):
    """Defences around trained models, each under a naive, an adaptive and a transfer attack."""

    choices: dict[str, DefenseChoice]  # under any name
    fit_images: Positive = 256  # of the training split, for a defence that learns


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
    clean_variants: list[str] = [name for name in VARIANTS if usual_training(name) == "clean"]
    controls: list[str] = []  # variants also trained the other way, which the paper lacks
    rivals: dict[str, list[AdversarialSettings]] = {}  # variant: other methods that it is also trained with
    noisy: dict[str, list[Noise]] = {}  # variant: noise that it is also trained with, cleanly
    training: TrainingSettings
    clean_training: TrainingSettings | None = None  # None: ``training`` without its adversarial part
    grids: dict[str, GridSettings]
    saliency: SaliencySettings | None = None
    curve: CurveSettings | None = None
    defenses: DefenseSettings | None = None
    universal: UniversalSettings | None = None
    transfer: TransferSettings | None = None
    probes: ProbesSettings = ProbesSettings()

    @field_validator("rivals")
    @classmethod
    def _no_twins(cls, rivals: dict[str, list[AdversarialSettings]]) -> dict[str, list[AdversarialSettings]]:
        for variant, rules in rivals.items():
            names = [rule.name for rule in rules]
            if PAPERS_METHOD in [rule.method for rule in rules] or len(set(names)) < len(names):
                raise ValueError(
                    f"{variant}: each rival once, and none is the paper's recipe; got {', '.join(names)}"
                )
        return rivals

    def models(self) -> list[tuple[str, TrainingSettings]]:
        """Every variant with the settings it is trained with, the controls behind, rivals and those with noise last."""
        clean = self.clean_training or self.training.model_copy(update={"adversarial": None})
        cleanly = [(variant, variant in self.clean_variants) for variant in self.variants]
        cleanly += [(variant, variant not in self.clean_variants) for variant in self.controls]
        found = [(variant, clean if is_clean else self.training) for variant, is_clean in cleanly]
        found += [
            (variant, self.training.model_copy(update={"adversarial": rule}))
            for variant, rules in self.rivals.items()
            for rule in rules
        ]
        found += [
            (variant, clean.model_copy(update={"augmentation": [*clean.augmentation, name]}))
            for variant, names in self.noisy.items()
            for name in names
        ]
        return found


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
    with as_input_error(f"profile '{name_or_path}'"):
        return Profile.model_validate(read_yaml(text, f"profile '{name_or_path}'"))


@contextmanager
def as_input_error(place: str) -> Iterator[None]:
    """What is wrong with settings, all of it in one line that begins with ``place``."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{place}: {faults_of(error)}") from error


def faults_of(error: ValidationError) -> str:
    """Place and message of each fault."""
    told = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
    return "; ".join(": ".join(filter(None, each)) for each in told)
