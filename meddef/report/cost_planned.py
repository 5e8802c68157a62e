"""Cost of a profile whose images are not available: cells, passes, storage.

The cells are those of ``make_plan``; the number of images comes from the data's card instead of its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from meddef.data import CARDS
from meddef.data.policies import PERCENT
from meddef.errors import InputError
from meddef.settings import DatasetSettings, Profile, training_name

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
            f"it is unknown how many images '{dataset.name}' has: "
            "use a dataset with a card, or phantoms with sizes in the profile"
        )
    released = {split: sum(counts.values()) for split, counts in card.published_counts.items()}
    if dataset.split_policy == "released" and set(released) == set(PERCENT):
        return released
    total = sum(released.values())
    train, val = (round(PERCENT[split] * total / 100) for split in ("train", "val"))
    return {"train": train, "val": val, "test": total - train - val}


def planned(profile: Profile) -> pd.DataFrame:
    """One row per cell, as planned by ``make_plan`` for ``split_sizes`` images.

    Columns: dataset, variant, training, seed, section (as ``Cell.section``), task (cells of one model that have the
    same value run on one worker in turn), n (images attacked), passes. Cells of kind "data" are left out.
    """
    from meddef.evaluation.cell import Extent
    from meddef.evaluation.plan import expand  # torch, which the pages of one profile do without
    from meddef.evaluation.task import TRAINED, task_of

    cells = list(
        expand(
            profile,
            [Extent(**split_sizes(each), fingerprint=each.model_dump_json()) for each in profile.datasets],
        )
    )
    trained = {cell.key: cell for cell in cells if cell.kind in TRAINED}
    rows = []
    for cell in cells:
        if (of := trained.get(cell.needs or cell.key)) is None:
            continue  # of the images alone
        settings = of.settings
        name = training_name(settings["training"]) + (" for long" if of.kind == "curve" else "")
        task = "train" if cell is of else str(task_of(cell))
        n = 0 if cell is of else (cell.settings.get("rule") or cell.settings).get("images", 0)
        rows.append(
            (cell.dataset, settings["variant"], name, settings["seed"], cell.section, task, n, cell.work)
        )
    return pd.DataFrame(rows, columns=COLUMNS)


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
