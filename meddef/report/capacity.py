"""What a profile takes where its images are not at hand: cells, passes, storage. No torch here.

The counts are those of ``make_plan``; the number of images comes from the data's card instead of its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from meddef.data import CARDS
from meddef.data.policies import PERCENT
from meddef.errors import InputError
from meddef.settings import DatasetSettings, GridSettings, Profile, TrainingSettings
from meddef.work import FORWARD, grid_runs, passes, probe_passes, saliency_passes, train_passes

COLUMNS = ["dataset", "variant", "training", "seed", "section", "task", "n", "passes"]
BYTES_A_WEIGHT = 4  # float32
IN_TRAINING = 3  # the checkpoint of a model in work: weights and Adam's two moments


def split_sizes(dataset: DatasetSettings) -> Mapping[str, int]:
    """Images of train, val and test, before repeated ones are taken out of training.

    "released" is the release's own split; "paper" and "patient" are 70/15/15 of all images.

    Raises:
        InputError: nothing says how many images there are.
    """
    if dataset.sizes is not None:
        return dataset.sizes
    card = CARDS.get(dataset.name)
    if card is None or not card.published_counts:
        raise InputError(
            f"nobody says how many images '{dataset.name}' has: "
            "use a dataset with a card, or phantoms with sizes in the profile"
        )
    released = {split: sum(counts.values()) for split, counts in card.published_counts.items()}
    if dataset.split_policy == "released" and set(released) == set(PERCENT):
        return released
    total = sum(released.values())
    train, val = (round(PERCENT[split] * total / 100) for split in ("train", "val"))
    return {"train": train, "val": val, "test": total - train - val}


def planned(profile: Profile) -> pd.DataFrame:
    """One row a cell, as ``make_plan`` would have it with ``split_sizes`` images.

    Columns: dataset, variant, training, seed, section (as ``Cell.section``), task (cells of one model that have the
    same value run on one worker in turn), n (images attacked), passes. Cells of kind "data" are left out.
    """
    rows: list[tuple[object, ...]] = []
    for dataset in profile.datasets:
        sizes = split_sizes(dataset)
        for variant, training in profile.models():
            for seed in profile.seeds:
                for row in _model_rows(profile, dataset, variant, training, seed, sizes):
                    rows.append((dataset.name, variant, training.name, seed, *row))
    return pd.DataFrame(rows, columns=COLUMNS)


def _model_rows(
    profile: Profile,
    dataset: DatasetSettings,
    variant: str,
    training: TrainingSettings,
    seed: int,
    sizes: Mapping[str, int],
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("train", "train", 0, train_passes(training, sizes["train"], sizes["val"])),
        ("test", "global, dense", sizes["test"], FORWARD * sizes["test"]),
    ]
    for name, grid in profile.grids.items():
        if grid.covers(variant, seed):
            rows += _grid_rows(name, grid, sizes["test"], 3 * profile.image_size**2)
    if profile.saliency is not None:
        rows.append(("saliency", "saliency", 0, saliency_passes(profile.saliency.images, profile.saliency)))
    for name, rule in profile.probes.chosen().items():
        if name != "images" and rule.covers(variant, seed):
            images = min(rule.images, sizes["test"])
            work = images * probe_passes(name, rule, 3 * profile.image_size**2)
            rows.append((f"probe {name}", "probe", images, work))
    return rows


def _grid_rows(name: str, grid: GridSettings, test: int, features: int) -> list[tuple[object, ...]]:
    images = min(grid.images or test, test)
    return [
        (
            name,
            f"{grid.scope}, {'pruned' if rate else 'dense'}",
            images,
            images * passes(attack, grid.attacks.get(attack, {}), features),
        )
        for rate, attack, _ in grid_runs(grid)
    ]


@dataclass(frozen=True)
class Scale:
    """How far more workers help: with ``useful`` of them the longest chain of cells is as long as all the rest.

    ``total`` and ``chain`` are passes; a chain is a training and the longest task that waits for its model.
    """

    total: float
    chain: float

    @property
    def useful(self) -> int:
        """Workers beyond which nothing gets faster."""
        return max(1, round(self.total / self.chain))

    def passes(self, workers: int) -> float:
        """Passes of the busiest worker, at best."""
        return max(self.total / workers, self.chain)


def scale(cells: pd.DataFrame) -> Scale:
    """The scale of the cells of ``planned``."""
    tasks = cells.groupby(["dataset", "variant", "training", "seed", "task"])["passes"].sum()
    models = tasks.unstack("task").fillna(0.0)
    chains = models["train"] + models.drop(columns="train").max(axis=1)
    return Scale(float(tasks.sum()), float(chains.max()))
