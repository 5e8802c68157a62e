"""Every defect on every subject: from images to records, one row per cell of an ε-table."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meddef.attacks import jsma
from meddef.data import ImageSet, Splits, load_splits
from meddef.laboratory.broken import Switches, craft
from meddef.laboratory.defects import BY_NAME, GRADIENT, SOUND
from meddef.laboratory.models import Subject, subjects
from meddef.printed.published import EPSILONS
from meddef.records import Record

IMAGE_SIZE = 32
# The test sizes are not multiples of the batch size; X-ray phantoms have three NORMAL in eleven.
SIZES = {
    "phantom_oct": {"train": 240, "val": 60, "test": 120},
    "phantom_xray": {"train": 242, "val": 66, "test": 110},
}
REAL_SIZES = {"train": 484, "val": 132, "test": 220}  # at most, drawn from each split
BATCH = 32
JSMA: dict[str, Any] = {"theta": 0.1, "gamma": 0.14, "pairs_per_step": 16}
SWITCHES = ("clamp_normalised", "eps_normalised", "descend", "train_mode", "one_label", "short_reach")


def run(dataset: str, *, data_dir: Path | None = None) -> Iterator[Record]:
    """Records of one dataset: every cell of every defect's table, sound ones included.

    A record: kind "lab", dataset, model, defect, attack ("clean", "fgsm", ...), eps (0 for clean), n, right (of n, None
    for an average over batches), accuracy (percent, as text with two decimals).
    """
    splits = load(dataset, data_dir)
    with TemporaryDirectory() as folder:
        for subject in subjects(splits, Path(folder)):
            bench = Bench(splits, subject)
            for defect in BY_NAME:
                for attack, eps, right in bench.table(defect):
                    yield _record(dataset, subject.name, defect, attack, eps, right)


def load(dataset: str, data_dir: Path | None, *, progress: bool = False) -> Splits:
    """A few small images: phantoms are drawn so, real ones are sampled from each split."""
    splits = load_splits(
        dataset,
        image_size=IMAGE_SIZE,
        split_policy="paper",
        sizes=SIZES.get(dataset),
        data_dir=data_dir,
        progress=progress,
    )
    if dataset in SIZES:
        return splits
    train, val, test = (
        _some(part, REAL_SIZES[name])
        for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test))
    )
    return replace(splits, train=train, val=val, test=test)


def _some(images: ImageSet, count: int) -> ImageSet:
    """At most ``count`` images in a seeded order, which mixes the classes."""
    rows = np.random.default_rng(0).permutation(len(images))[:count]
    names, patients = (tuple(part[row] for row in rows) for part in (images.names, images.patients))
    return ImageSet(np.asarray(images.images)[rows], images.labels[rows], names, patients)


def _record(dataset: str, model: str, defect: str, attack: str, eps: float, right: np.ndarray) -> Record:
    averaged = defect == "batch_average" and attack != "clean"
    means = [part.mean() for part in np.split(right, range(BATCH, len(right), BATCH))]
    accuracy = 100 * (float(np.mean(means)) if averaged else float(right.mean()))
    return {
        "kind": "lab",
        "dataset": dataset,
        "model": model,
        "defect": defect,
        "attack": attack,
        "eps": eps,
        "n": len(right),
        "right": None if averaged else int(right.sum()),
        "accuracy": f"{accuracy:.2f}",
    }


class Bench:
    """One subject on its test images; columns that several defects share are computed once."""

    def __init__(self, splits: Splits, subject: Subject) -> None:
        self.subject = subject
        self.test = splits.test.batch(np.arange(len(splits.test)))
        self.train = splits.train.batch(np.arange(min(len(splits.test), len(splits.train))))
        self._known: dict[tuple[str, str, float], np.ndarray] = {}

    def table(self, defect: str) -> Iterator[tuple[str, float, np.ndarray]]:
        """(attack, eps, right) of the columns that the defect changes; of a sound table, all. right: (n,) bool."""
        changed = BY_NAME[defect].columns
        if defect == SOUND.name or "clean" in changed:
            yield "clean", 0.0, self.cell(defect, "clean", 0.0)
        for attack in (*GRADIENT, "jsma"):
            if defect == SOUND.name or attack in changed:
                for eps in EPSILONS:
                    yield attack, eps, self.cell(defect, attack, eps)

    def cell(self, defect: str, attack: str, eps: float) -> np.ndarray:
        """Which images are correct, (n,) bool."""
        if attack == "jsma" and defect != "sign_steps_as_jsma":
            eps = 0.0  # JSMA has none: one result serves every row
        key = (defect, attack, eps)
        if key not in self._known:
            self._known[key] = self._cell(*key)
        return self._known[key]

    def _cell(self, defect: str, attack: str, eps: float) -> np.ndarray:
        subject = self.subject
        images, labels = self.train if defect == "other_images" else self.test
        if defect == "collapse":
            return (labels == labels.mode().values).numpy()
        if defect == "batch_average":
            return self.cell("sound", attack, eps)
        if attack == "clean" or defect == "exception":
            return _right(subject.model.network, self._standardised(images), labels)
        source = {"transfer": subject.other, "early": subject.early}.get(defect, subject.model)
        switches = Switches(**{defect: True}) if defect in SWITCHES else Switches()
        if defect == "sign_steps_as_jsma":
            attack = "bim"
        if attack == "jsma":
            found = self._standardised(jsma(source, images, labels, **JSMA))
        elif switches.train_mode:
            return _in_training_mode(subject, images, labels, attack, eps)
        else:
            found = craft(source, images, labels, attack=attack, eps=eps, switches=switches)
        return _right(subject.model.network, found, labels)

    def _standardised(self, images: Tensor) -> Tensor:
        return (images - self.subject.model.mean) / self.subject.model.std


def _in_training_mode(
    subject: Subject, images: Tensor, labels: Tensor, attack: str, eps: float
) -> np.ndarray:
    """Attacked and evaluated batch by batch, with dropout and batch statistics."""
    model = copy.deepcopy(subject.model).train()
    torch.manual_seed(0)
    right = []
    for some, their in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        found = craft(model, some, their, attack=attack, eps=eps, switches=Switches(train_mode=True))
        right.append(_right(model.network, found, their))
    return np.concatenate(right)


def _right(network: torch.nn.Module, standardised: Tensor, labels: Tensor) -> np.ndarray:
    with torch.no_grad():
        return (network(standardised).argmax(1) == labels).numpy()
