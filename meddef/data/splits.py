"""``load_splits``: from a dataset's name to train, val and test."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from meddef.data.cache import Pool, cached_pool, content_key, find_cache_dir, source_digest
from meddef.data.cards import SPLITS, Card, find_card
from meddef.data.file_digests import file_digests
from meddef.data.images import ImageSet
from meddef.data.origin import Origin
from meddef.data.policies import check_policy, paper_split, patient_groups, patient_split
from meddef.data.pool import Index, describe_problems, prepare
from meddef.data.preprocessing import Preprocessing
from meddef.data.report import make_report, training_repeats
from meddef.data.source import Source
from meddef.data.source_csv import find_csv, list_rows
from meddef.data.source_folder import find_root, folder_source, list_items
from meddef.data.source_medmnist import find_npz, medmnist_source
from meddef.data.source_phantom import check_sizes, phantom_source
from meddef.errors import InputError
from meddef.image_size import Size, px, sides, simplest

logger = logging.getLogger(__name__)

SMALLEST_SIZE = 8


@dataclass(frozen=True)
class Splits:
    """A dataset, ready to train on. ``mean`` and ``std`` are those of the training pixels in [0, 1], all channels
    together.

    ``fingerprint`` is a SHA-256 over the prepared pixels and labels of the three splits, in order: independent of
    location and copy time. ``report`` is JSON-able: files found and skipped, duplicates, what was removed from
    training, patients in several splits. ``origin`` suffices to reproduce it.
    """

    dataset: str
    classes: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: ImageSet
    mean: float
    std: float
    fingerprint: str
    report: dict[str, Any]
    origin: Origin | None = None

    @property
    def channels(self) -> int:
        """Number of channels of an image as the model gets it, 1 or 3."""
        return self.test.channels

    def part(self, name: str) -> ImageSet:
        """The images of "train", "val" or "test"; ``InputError`` for another name."""
        if name not in SPLITS:
            raise InputError(f"unknown split {name!r}: choose from {', '.join(SPLITS)}")
        images: ImageSet = getattr(self, name)
        return images


def load_splits(
    dataset: str,
    *,
    image_size: Size = 64,
    channels: int | None = None,
    split_policy: str = "paper",
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    sizes: dict[str, int] | None = None,
    drop_duplicates: bool = True,
    skip_unreadable: bool = False,
    needed: Collection[str] = SPLITS,
    progress: bool = True,
) -> Splits:
    """Train, val and test of a dataset named in ``CARDS``, preprocessed once and then read from the cache.

    ``split_policy``: "released" keeps the folders or files as distributed, "paper" draws 70/15/15 within each
    class, "patient" draws 70/15/15 with every patient in one split; ``seed`` drives the draw. Phantoms are drawn in
    their splits, from separate patients: ``seed`` and ``sizes`` (images per split) determine them, and every policy
    gives the same. ``preprocessing`` None uses the steps on the dataset's card.

    With ``drop_duplicates``, training images that duplicate another image of training, val or test (exactly or nearly)
    are removed from training, listed in the report and logged; val and test are unchanged.

    ``image_size`` is a side or (height, width). ``channels`` 3 keeps colours; 1 gives the model one channel of grey;
    None is grey, as three equal channels. A split that is not ``needed`` may be empty: released data without one.

    A split that is contiguous in the cache stays a memory map; others are copied into memory.

    Raises ``InputError`` for an unknown name, policy or size, for data that is missing or laid out otherwise,
    and for files that cannot be used unless ``skip_unreadable``.
    """
    card = find_card(dataset)
    check_policy(split_policy)
    image_size = simplest(image_size)
    _check_arguments(card, image_size, channels, seed, sizes)
    steps = card.preprocessing if preprocessing is None else preprocessing
    cache = find_cache_dir(cache_dir)
    lie = needed if split_policy == "released" else ()
    colour = channels == 3
    contents, make_source, place = _find_source(card, image_size, seed, data_dir, cache, sizes, lie, colour)
    key = content_key(
        dataset, contents, image_size, steps.model_dump(), *(card.window or ()), *["RGB"][:colour]
    )

    def build(path: Path) -> Index:
        return prepare(
            make_source(),
            path,
            dataset=dataset,
            image_size=image_size,
            colour=colour,
            preprocessing=steps,
            skip_unreadable=skip_unreadable,
            progress=progress,
        )

    pool = cached_pool(cache, f"{dataset}-{px(image_size).removesuffix(' px').replace(' ', '')}", key, build)
    if pool.index.skipped and not skip_unreadable:
        found = len(pool.index.skipped) + len(pool.index.names)
        raise InputError(describe_problems(dataset, pool.index.skipped, found))
    where = _assign(card, pool.index, split_policy, seed, needed)
    removed = training_repeats(pool.index, where) if drop_duplicates else []
    policy = "as drawn" if card.kind == "phantom" else split_policy
    report = make_report(pool.index, where, card.classes, policy=policy, seed=seed, removed=removed)
    _log(dataset, report)
    counts = check_sizes(sizes) if card.kind == "phantom" else None
    origin = Origin(image_size, split_policy, seed, steps.model_dump(), counts, place, channels)
    return replace(_splits(card, pool, where, removed, report, channels, needed), origin=origin)


def _check_arguments(
    card: Card, image_size: Size, channels: int | None, seed: int, sizes: dict[str, int] | None
) -> None:
    if min(sides(image_size)) < SMALLEST_SIZE:
        raise InputError(f"image_size must be at least {SMALLEST_SIZE} px, not {px(image_size)}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1 or 3, not {channels}")
    if card.kind == "phantom" and not isinstance(image_size, int):
        raise InputError(f"{card.name} is drawn square: give image_size one side, not {px(image_size)}")
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    if sizes is not None and card.kind != "phantom":
        raise InputError(f"sizes is for phantoms only; the images of {card.name} are fixed")


def _find_source(
    card: Card,
    image_size: Size,
    seed: int,
    data_dir: Path | None,
    cache: Path,
    sizes: dict[str, int] | None,
    lie: Collection[str],
    colour: bool,
) -> tuple[object, Callable[[], Source], str]:
    """The contents' identity, a function that opens them, and their location."""
    if card.kind == "phantom":
        counts = check_sizes(sizes)
        drawn_by = source_digest("phantom*.py", "source_phantom.py")
        contents: list[object] = [seed, counts, drawn_by]
        side = sides(image_size)[0]
        return contents, lambda: phantom_source(card.name, image_size=side, seed=seed, sizes=counts), ""
    if card.kind == "medmnist":
        path = find_npz(card, image_size, data_dir)
        contents = [file_digests(path.parent, [path.name], cache), source_digest("source_medmnist.py")]
        return contents, lambda: medmnist_source(card, path, colour=colour), str(path)
    if card.kind == "csv":
        root = find_csv(card, data_dir)
        folder, items = root.parent, list_rows(card, root, lie)
    else:
        folder = root = find_root(card, data_dir)
        items = list_items(card, root, lie)
    digests = file_digests(folder, [item.name for item in items], cache)
    contents = [
        [item.name, item.label, item.patient, item.split, digest]
        for item, digest in zip(items, digests, strict=True)
    ]
    return contents, lambda: folder_source(card, folder, items, colour=colour), str(root)


def _assign(card: Card, index: Index, policy: str, seed: int, needed: Collection[str]) -> np.ndarray:
    labels = np.array(index.labels)
    if policy == "released" or card.kind == "phantom":
        where = np.array(index.splits)
    elif policy == "paper":
        where = paper_split(labels, seed)
    elif all(patient is None for patient in index.patients):
        raise InputError(f"{card.name} has no patient ids: use split policy released or paper")
    else:
        groups = patient_groups(_patients(index), index.exact + (index.near or []))
        where = patient_split(labels, groups, seed)
    if empty := [split for split in SPLITS if split in needed and not np.any(where == split)]:
        raise InputError(f"{card.name}: split policy {policy} leaves {', '.join(empty)} empty; add images")
    return where


def _log(dataset: str, report: dict[str, Any]) -> None:
    if skipped := report["skipped"]:
        names = ", ".join(f"{problem['name']} ({problem['reason']})" for problem in skipped)
        logger.warning("%s: skipped %d unusable files: %s", dataset, len(skipped), names)
    if removed := report["removed_from_training"]:
        logger.warning("%s: %d duplicate training images were removed", dataset, len(removed))
    for split, classes in report["classes_without_images"].items():
        if len(classes) == len(report["counts"][split]):
            continue  # an empty split, which the caller did not need
        logger.warning("%s: %s has no images of %s", dataset, split, ", ".join(classes))


def _splits(
    card: Card,
    pool: Pool,
    where: np.ndarray,
    removed: list[int],
    report: dict[str, Any],
    channels: int | None,
    needed: Collection[str],
) -> Splits:
    kept = np.ones(len(where), dtype=bool)
    kept[removed] = False
    rows = {split: np.flatnonzero((where == split) & kept) for split in SPLITS}
    if not len(rows["train"]) and "train" in needed:
        raise InputError(f"{card.name}: every training image duplicates one of val or test; add images")
    sets = {split: _image_set(pool, rows[split], channels or 3) for split in SPLITS}
    mean, std = _mean_and_std(pool, rows["train"] if len(rows["train"]) else np.arange(len(where)))
    fingerprint = _fingerprint(card, pool.index, rows, channels)
    return Splits(
        card.name, card.classes, sets["train"], sets["val"], sets["test"], mean, std, fingerprint, report
    )


def _image_set(pool: Pool, rows: np.ndarray, channels: int) -> ImageSet:
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    together = last - first + 1 == len(rows)
    images = pool.images[first : last + 1] if together else np.asarray(pool.images)[rows]
    index = pool.index
    patients = _patients(index)
    labels = np.array([index.labels[row] for row in rows], dtype=np.int64)
    names, whose = (tuple(values[row] for row in rows) for values in (index.names, patients))
    return ImageSet(images, labels, names, whose, channels)


def _patients(index: Index) -> list[str]:
    """The patient of each image; an image with unknown patient counts as a separate patient."""
    return [patient or name for patient, name in zip(index.patients, index.names, strict=True)]


def _mean_and_std(pool: Pool, rows: np.ndarray) -> tuple[float, float]:
    pixels = len(rows) * math.prod(pool.images.shape[1:])
    mean = sum(pool.index.sums[row] for row in rows) / pixels
    mean_square = sum(pool.index.squares[row] for row in rows) / pixels
    return mean / 255, math.sqrt(max(mean_square - mean**2, 0)) / 255


def _fingerprint(card: Card, index: Index, rows: dict[str, np.ndarray], channels: int | None) -> str:
    content = {split: [(index.digests[row], index.labels[row]) for row in rows[split]] for split in SPLITS}
    one = [1] if channels == 1 else []  # RGB has other pixels
    return hashlib.sha256(json.dumps([card.classes, content, *one]).encode()).hexdigest()
