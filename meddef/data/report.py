"""The data report, JSON-able: all findings in a dataset and their handling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from meddef.data.cards import CARDS, SPLITS
from meddef.data.duplicates import merge
from meddef.data.pool import Index

if TYPE_CHECKING:
    from meddef.data.splits import Splits

SHOWN = 10
"""Names listed as examples."""


def training_repeats(index: Index, splits: np.ndarray) -> list[int]:
    """Training images that repeat an image of val or test, or an earlier training image; ascending."""
    repeats = []
    for group in merge(index.exact + (index.near or [])):
        training = [member for member in group if splits[member] == "train"]
        kept_elsewhere = len(training) < len(group)
        repeats += training if kept_elsewhere else training[1:]
    return sorted(repeats)


def count(labels: np.ndarray, splits: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Images by split and class."""
    return {
        split: {
            name: int(np.sum((splits == split) & (labels == label))) for label, name in enumerate(classes)
        }
        for split in SPLITS
    }


def duplicate_report(groups: list[list[int]], index: Index, splits: np.ndarray) -> dict[str, Any]:
    """Groups of equal images: number, surplus files, splits, contradicting labels."""
    spread = [sorted({str(splits[member]) for member in group}, key=SPLITS.index) for group in groups]
    across = [group for group, where in zip(groups, spread, strict=True) if len(where) > 1]
    return {
        "groups": len(groups),
        "surplus_files": sum(len(group) - 1 for group in groups),
        "groups_within": {split: sum(where == [split] for where in spread) for split in SPLITS},
        "groups_across": len(across),
        "groups_with_different_labels": sum(len({index.labels[m] for m in group}) > 1 for group in groups),
        "examples_across": [[index.names[member] for member in group] for group in across[:SHOWN]],
    }


def patient_report(index: Index, splits: np.ndarray) -> dict[str, Any]:
    """How many patients there are and which are in more than one split."""
    where: dict[str, set[str]] = {}
    for patient, split in zip(index.patients, splits, strict=True):
        if patient is not None:
            where.setdefault(patient, set()).add(str(split))
    shared = sorted(patient for patient, found in where.items() if len(found) > 1)
    return {
        "patients": len(where),
        "images_without_patient": sum(patient is None for patient in index.patients),
        "in_several_splits": len(shared),
        "in_train_and_test": sum({"train", "test"} <= found for found in where.values()),
        "examples": shared[:SHOWN],
    }


def read_as(splits: Splits) -> list[str]:
    """How files that are not plain 8-bit grey were read, with their number, a kind a line; and a window of no use."""
    lines = [f"files {words}: {found:,}" for words, found in splits.report["read_as"].items()]
    card = CARDS.get(splits.dataset)
    if card is not None and card.window and not any("the window" in line for line in lines):
        lines.append("the window was not used: no file is deeper than 8 bits")
    return lines


def make_report(
    index: Index, splits: np.ndarray, classes: tuple[str, ...], *, policy: str, seed: int, removed: list[int]
) -> dict[str, Any]:
    """The whole report; ``removed`` are the positions removed from training. ``duplicates`` has no "near" where near
    duplicates were not searched for."""
    labels = np.array(index.labels)
    kept = np.ones(len(labels), dtype=bool)
    kept[removed] = False
    counts = count(labels[kept], splits[kept], classes)
    empty = {split: [name for name, found in counts[split].items() if not found] for split in SPLITS}
    duplicates = {"exact": duplicate_report(index.exact, index, splits)}
    if index.near is not None:
        duplicates["near"] = duplicate_report(index.near, index, splits)
    return {
        "split_policy": policy,
        "seed": seed,
        "files_found": len(index.names) + len(index.skipped),
        "skipped": [problem.model_dump() for problem in index.skipped],
        "read_as": index.read_as,
        "counts_before_removal": count(labels, splits, classes),
        "counts": counts,
        "classes_without_images": {split: names for split, names in empty.items() if names},
        "duplicates": duplicates,
        "removed_from_training": [index.names[position] for position in removed],
        "patients": patient_report(index, splits),
    }
