"""Training of a model: clean, by the paper's recipe or by a rival method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from meddef.settings.base import Positive, Rate, Settings

Noise = Literal["noise_12", "noise_25"]
Augmentation = Literal["horizontal_flip", "translate", Noise]  # see meddef.training.augmentation
Method = Literal["meddef", "madry", "fast", "trades"]  # see meddef.training.methods
PAPERS_METHOD: Method = "meddef"
"""Name of the paper's recipe among the methods."""
TRAININGS = ("clean", "adversarial")
"""Trainings of the paper, as records name them; any other is a rival."""


Budget = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1)]  # of the adversarial loss; the clean loss has the rest


class Phase(Settings):
    """Part of an ε-schedule of one's own: a constant, or from a first value to a last, in equal steps an epoch."""

    epochs: Positive
    epsilon: Budget | Annotated[list[Budget], Field(min_length=2, max_length=2)]  # pixel units, L-infinity
    weight: Weight | Annotated[list[Weight], Field(min_length=2, max_length=2)] | None = None  # None is 0.5


class AdversarialSettings(Settings):
    """Adversarial training: the paper's recipe (Section IV-B) or a rival method, which uses a single epsilon.

    A setting that the method does not use is refused if given and otherwise not written, so that records of the paper's
    recipe made before the rivals existed keep their keys.
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
    schedule: list[Phase] | None = (
        None  # in place of the paper's phases, or of a single epsilon; None is not written
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.schedule is not None:
            self._check_schedule(self.schedule)
        if unused := self.model_fields_set & _unused(self.method):
            raise ValueError(f"method {self.method} does not use {', '.join(sorted(unused))}: leave it out")
        return self

    def _check_schedule(self, phases: list[Phase]) -> None:
        if not phases:
            raise ValueError("schedule has no phase: leave it out, or give one")
        if self.method != PAPERS_METHOD:
            if any(phase.weight is not None for phase in phases):
                raise ValueError(
                    f"method {self.method} has no weight of its loss: leave weight out of schedule"
                )
            if "epsilon" in self.model_fields_set:
                raise ValueError("schedule says epsilon in each phase: leave the single epsilon out")

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = _unused(self.method) | ({"method"} if self.method == PAPERS_METHOD else set())
        unused |= {"schedule"} if self.schedule is None else {"epsilon"}
        return {name: value for name, value in handler(self).items() if name not in unused}

    @property
    def name(self) -> str:
        """Name of this training in records. "adversarial" is the paper's, also with other phases; a rival's is followed
        by its non-default settings."""
        if self.method == PAPERS_METHOD:
            return "adversarial"
        fields = type(self).model_fields
        others = [n for n in OWN_SETTINGS[self.method] if getattr(self, n) != fields[n].default]
        told = [f"{n}={getattr(self, n):.5g}" for n in others]
        if self.schedule is not None:
            told.append(f"schedule={'+'.join(_short(phase) for phase in self.schedule)}")
        return " ".join([self.method, *told])


OWN_SETTINGS: dict[Method, tuple[str, ...]] = {
    "meddef": ("train_share", "patience", "tolerance", "ease_factor"),
    "madry": ("epsilon",),
    "fast": ("epsilon", "random_start"),
    "trades": ("epsilon", "beta"),
}
"""The fields of ``AdversarialSettings`` that not every method uses."""


def _short(phase: Phase) -> str:
    """ "5x0.0157" or "5x0.01-0.03"."""
    ends = phase.epsilon if isinstance(phase.epsilon, list) else [phase.epsilon]
    return f"{phase.epochs}x{'-'.join(f'{eps:.5g}' for eps in ends)}"


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
        """Name of this training in records, such as "clean", "adversarial" (the paper's recipe), "fast", "noise_25"."""
        noise = [name for name in self.augmentation if name in get_args(Noise)]
        base = self.adversarial.name if self.adversarial else "" if noise else "clean"
        return " ".join([base, *noise]).strip()

    @field_validator("augmentation")
    @classmethod
    def _each_once(cls, names: list[Augmentation]) -> list[Augmentation]:
        """Sort them in the order of application, so that equal trainings have equal settings."""
        if len(set(names)) < len(names):
            raise ValueError(f"names a technique twice: {', '.join(names)}")
        return [name for name in get_args(Augmentation) if name in names]


def training_name(content: Mapping[str, Any]) -> str:
    """``TrainingSettings.name`` of a training as a cell or a record holds it."""
    return TrainingSettings.model_validate(content).name
