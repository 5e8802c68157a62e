"""Base of all settings, and the selection of models and images in each part of a profile."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SomeModels(Settings):
    """Which trained models are evaluated."""

    seeds: list[int] | None = None  # only models of these seeds; None is every seed
    variants: list[str] | None = None  # only models of these variants; None is every variant

    def covers(self, variant: str, seed: int) -> bool:
        """Whether models of ``variant`` trained with ``seed`` are selected."""
        return (self.seeds is None or seed in self.seeds) and (
            self.variants is None or variant in self.variants
        )


class OfModels(SomeModels):
    """A measurement on some of the trained models and some of the test images."""

    images: Positive | None = None  # of the test split; None is all of it


class AttackSettings(OfModels):
    """Attacks on trained models: name -> settings (without eps)."""

    eps: list[Epsilon] = [0.01, 0.05, 0.10]
    attacks: dict[str, dict[str, Any]]
    allow_short_reach: bool = False  # run attacks whose steps do not add up to their eps
