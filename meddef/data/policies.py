"""Split policies: as released, as in the paper, or with each patient in one split."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, get_args

import numpy as np

from meddef.data.cards import SPLITS
from meddef.data.duplicates import merge
from meddef.errors import InputError

SplitPolicy = Literal["released", "paper", "patient"]
POLICIES: tuple[str, ...] = get_args(SplitPolicy)
PERCENT = {"train": 70, "val": 15, "test": 15}


def check_policy(policy: str) -> None:
    """``InputError`` for an unknown policy."""
    if policy not in POLICIES:
        raise InputError(f"unknown split policy {policy!r}: choose from {', '.join(POLICIES)}")


def paper_split(labels: np.ndarray, seed: int) -> np.ndarray:
    """70/15/15 within each class, drawn with ``seed``; N labels to N split names.

    Train and val get 70 % and 15 % rounded to the nearest, test the rest. For the 1,583 and 4,273 chest
    X-rays that is 1,108/237/238 and 2,991/641/641, as the paper prints.
    """
    rng = np.random.default_rng(seed)
    splits = np.empty(len(labels), dtype="<U5")
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        train = (PERCENT["train"] * len(members) + 50) // 100
        val = (PERCENT["val"] * len(members) + 50) // 100
        for split, part in zip(SPLITS, np.split(members, [train, train + val]), strict=True):
            splits[part] = split
    return splits


def patient_groups(patients: list[str], repeats: list[list[int]]) -> list[list[int]]:
    """Positions of the images that must stay together: those of one patient, and of patients who share a picture
    (``repeats``: groups of equal or nearly equal images), because they are then the same person."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, patient in enumerate(patients):
        members[patient].append(index)
    return merge([*members.values(), *repeats])


def patient_split(labels: np.ndarray, groups: list[list[int]], seed: int) -> np.ndarray:
    """70/15/15 of the images with every group in one split and classes as balanced as possible.

    Groups are assigned one by one, largest first and ties in an order drawn with ``seed``, to the split that lacks the
    largest share of their classes.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort([-len(groups[g]) for g in order], kind="stable")]

    totals = np.bincount(codes, minlength=len(classes))
    share = np.array([PERCENT[split] / 100 for split in SPLITS])[:, None]
    target = totals * share
    placed = np.zeros_like(target)
    splits = np.empty(len(labels), dtype="<U5")
    for group in (groups[g] for g in order):
        brings = np.bincount(codes[group], minlength=len(classes))
        lacking = ((target - placed) / target) @ (brings / totals)
        chosen = int(np.argmax(lacking))
        placed[chosen] += brings
        splits[group] = SPLITS[chosen]
    return splits
