"""From a profile to its list of independent cells, each under a key of everything that can change it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddef import sections
from meddef.attacks.options import with_step_size
from meddef.cost_model import curve_passes, grid_runs, passes, probe_passes, saliency_passes, train_passes
from meddef.data.cards import SPLITS
from meddef.data.splits import Splits, load_splits
from meddef.errors import InputError
from meddef.evaluation.cell import Cell, Extent, attack_settings
from meddef.evaluation.checks import check_profile, check_reach
from meddef.evaluation.rivals import check_rivals, rival_cells
from meddef.records import CLASS_CHARACTERS
from meddef.results_version import versions
from meddef.settings import (
    DatasetSettings,
    GridSettings,
    Profile,
    TrainingSettings,
)

TEST_GRID = "test"  # clean accuracy on the whole test split
SECTIONS: dict[str, tuple[str, ...]] = {name: row.needs for name, row in sections.SECTIONS.items()}
"""Section of the report -> the cells it needs."""


@dataclass(frozen=True)
class Plan:
    """The cells of a profile, each after the one it needs."""

    profile: Profile
    cells: tuple[Cell, ...]

    def only(self, section: str) -> Plan:
        """The part of the plan that one section of the report needs."""
        if section not in SECTIONS:
            raise InputError(f"unknown section '{section}': use one of {', '.join(SECTIONS)}")
        return Plan(self.profile, tuple(cell for cell in self.cells if cell.section in SECTIONS[section]))


@dataclass(frozen=True)
class RunOptions:
    """Paths and resources of a run; none of it changes a result, except the device."""

    folder: Path
    data_dir: Path | None = None
    device: str = "cpu"
    skip_unreadable: bool = False


def splits_of(
    dataset: DatasetSettings,
    profile: Profile,
    options: RunOptions,
    *,
    progress: bool = False,
    needed: Collection[str] = SPLITS,
) -> Splits:
    """The prepared images of one dataset of the profile; a split that is not ``needed`` may be empty."""
    return load_splits(
        dataset.name,
        image_size=profile.image_size,
        channels=dataset.channels,
        split_policy=dataset.split_policy,
        seed=dataset.split_seed,
        preprocessing=dataset.preprocessing,
        data_dir=options.data_dir,
        sizes=dataset.sizes,
        skip_unreadable=options.skip_unreadable,
        needed=needed,
        progress=progress,
    )


def make_plan(profile: Profile, options: RunOptions) -> Plan:
    """All cells of ``profile``. Preprocesses the images if necessary, since keys contain their fingerprint.

    Raises:
        InputError: unknown variant or attack, a setting an attack does not take, or missing data.
    """
    check_profile(profile)
    check_reach(profile)
    check_rivals(profile)
    extents = []
    for dataset in profile.datasets:
        splits = splits_of(dataset, profile, options, progress=True)
        _check_classes(dataset, splits)
        extents.append(Extent(len(splits.train), len(splits.val), len(splits.test), splits.fingerprint))
    return Plan(profile, tuple(expand(profile, extents, options.device)))


def expand(profile: Profile, extents: Iterable[Extent], device: str = "cpu") -> Iterator[Cell]:
    """The cells of ``profile`` for datasets with the given ``extents``; reads no image."""
    for dataset, extent in zip(profile.datasets, extents, strict=True):
        yield from _dataset_cells(profile, dataset, extent, device)


def _check_classes(dataset: DatasetSettings, splits: Splits) -> None:
    if len(splits.classes) > len(CLASS_CHARACTERS):
        raise InputError(
            f"dataset '{dataset.name}' has {len(splits.classes)} classes, and records of a profile hold at most "
            f"{len(CLASS_CHARACTERS)}: use meddef.evaluation.evaluate"
        )


def _dataset_cells(profile: Profile, dataset: DatasetSettings, extent: Extent, device: str) -> Iterator[Cell]:
    data = {
        "fingerprint": extent.fingerprint,
        "settings": dataset.model_dump(),
        "image_size": profile.image_size,
        "versions": versions("data"),
    }
    yield Cell("data", dataset.name, data)
    if rule := profile.probes.images:
        of_images = {
            "probe": "images",
            "rule": rule.model_dump(),
            "versions": versions("data", "evaluation", "probes"),
        }
        yield Cell("probe", dataset.name, data | of_images)
    trains = []
    shared = {"data": extent.fingerprint, "device": device, "threads": profile.threads}
    for variant, training in profile.models():
        for seed in profile.seeds:
            train = _train_cell(dataset.name, variant, training, seed, extent, shared)
            yield train
            trains.append(train)
            for grid_name, grid in {TEST_GRID: GridSettings(attacks={}), **profile.grids}.items():
                if grid.covers(variant, seed):
                    yield from _grid_cells(profile, train, grid_name, grid, extent.test, shared)
            if profile.saliency is not None:
                yield _saliency_cell(profile, dataset, train, shared)
            yield from _probe_cells(profile, train, extent.test, shared)
    yield from _curve_cells(profile, dataset.name, extent, shared)
    yield from rival_cells(profile, trains, extent, shared)


def _train_cell(
    dataset: str,
    variant: str,
    training: TrainingSettings,
    seed: int,
    extent: Extent,
    shared: Mapping[str, Any],
) -> Cell:
    settings = {
        **shared,
        "variant": variant,
        "seed": seed,
        "training": training.model_dump(),
        "versions": versions("models", "training", *(["attacks"] if training.adversarial else [])),
    }
    work = train_passes(training, extent.train, extent.val)
    return Cell("train", dataset, settings, work=work)


def _grid_cells(
    profile: Profile, train: Cell, name: str, grid: GridSettings, test: int, shared: Mapping[str, Any]
) -> Iterable[Cell]:
    images = min(grid.images or test, test)
    for rate, attack, eps in grid_runs(grid):
        given = grid.attacks.get(attack, {})
        settings = {
            **shared,
            "grid": name,
            "variant": train.settings["variant"],
            "seed": train.settings["seed"],
            "prune_rate": rate,
            "prune_scope": grid.scope,
            "images": images,
            "batch_size": profile.batch_size,
            "channels_last": profile.training.channels_last,
            "attack": attack,
            "eps": eps,
            **attack_settings(attack, given, eps),
        }
        work = images * passes(attack, given, profile.features(train.dataset))
        yield Cell("attack", train.dataset, settings, needs=train.key, work=work)


def _saliency_cell(
    profile: Profile, dataset: DatasetSettings, train: Cell, shared: Mapping[str, Any]
) -> Cell:
    assert profile.saliency is not None
    attack = profile.saliency.pgd
    settings = {
        **shared,
        "variant": train.settings["variant"],
        "seed": train.settings["seed"],
        "split_seed": dataset.split_seed,
        "sizes": dataset.sizes,
        "versions": versions("data", "models", "attacks", "saliency"),
        **profile.saliency.model_dump(),
        "pgd": with_step_size("pgd", attack.model_dump(), attack.eps),
    }
    work = saliency_passes(profile.saliency.images, profile.saliency)
    return Cell("saliency", train.dataset, settings, needs=train.key, work=work)


def _curve_cells(profile: Profile, dataset: str, extent: Extent, shared: Mapping[str, Any]) -> Iterable[Cell]:
    rule = profile.curve
    if rule is None:
        return
    training = profile.training.model_copy(update={"epochs": rule.epochs})
    for variant in rule.variants:
        for seed in rule.seeds:
            train = _train_cell(dataset, variant, training, seed, extent, shared)
            settings = {
                **train.settings,
                **rule.model_dump(include={"every", "images", "eps", "steps"}),
                "versions": versions("models", "training", "attacks", "evaluation"),
            }
            work = train.work + curve_passes(rule)
            yield Cell("curve", dataset, settings, work=work)


def _probe_cells(profile: Profile, train: Cell, test: int, shared: Mapping[str, Any]) -> Iterable[Cell]:
    """One cell per probe that applies to the model, with ``test`` images available."""
    variant, seed = train.settings["variant"], train.settings["seed"]
    for name, rule in profile.probes.chosen().items():
        if name == "images" or not rule.covers(variant, seed):
            continue
        settings = {
            **shared,
            "probe": name,
            "variant": variant,
            "seed": seed,
            "batch_size": profile.batch_size,
            "channels_last": profile.training.channels_last,
            "rule": rule.model_dump(exclude={"variants", "seeds"}),
            "versions": versions("data", "models", "attacks", "evaluation", "probes"),
        }
        work = min(rule.images, test) * probe_passes(name, rule, profile.features(train.dataset))
        yield Cell("probe", train.dataset, settings, needs=train.key, work=work)
