"""Balanced accuracy and the constant classifier, the two references for accuracy.

A constant prediction has its class's share as accuracy under any attack. Robust accuracy is therefore compared with the
best constant classifier on the attacked images, and with balanced accuracy, in which a constant classifier scores one
class's share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from meddef.records import CLASS_CHARACTERS, Record, attack_frame
from meddef.statistics import BalancedAccuracy, Proportion

NOTE = (
    "Balanced: the mean of the per-class accuracies. Constant classifier: the largest class of the attacked images, "
    "predicted for all of them."
)


@dataclass(frozen=True)
class ConstantClassifier:
    """The best constant prediction: its class, its accuracy, and its balanced accuracy, 1 / (classes with images), in
    [0, 1]."""

    name: str
    accuracy: Proportion
    balanced: float


def balanced_accuracy(record: Record, which: str = "after") -> BalancedAccuracy:
    """Balanced accuracy of an attack record ``which`` ("before" or "after") the attack, with its per-class recalls."""
    size: Counter[str] = Counter(record["labels"])
    right: Counter[str] = Counter()
    for label, answer in zip(record["labels"], record[which], strict=True):
        right[label] += label == answer
    names = [CLASS_CHARACTERS[place] for place in range(len(record["classes"]))]
    return BalancedAccuracy(tuple(Proportion(right[name], size[name]) for name in names))


def constant_classifier(record: Record) -> ConstantClassifier:
    """Of the images of an attack record; ties go to the first class. Raises ValueError without images."""
    if not record["labels"]:
        raise ValueError("no images, so no constant classifier")
    size: Counter[str] = Counter(record["labels"])
    most = max(sorted(size), key=lambda label: size[label])
    share = Proportion(size[most], len(record["labels"]))
    return ConstantClassifier(record["classes"][int(most, 36)], share, 1 / len(size))


def absent_classes(record: Record) -> list[str]:
    """Names of the classes that no image of an attack record shows."""
    return [record["classes"][place] for place in balanced_accuracy(record).absent]


def balanced_frame(records: Iterable[Record]) -> pd.DataFrame:
    """``attack_frame`` with ``balanced``, ``balanced_low``, ``balanced_high``, and of the constant classifier
    ``constant`` (accuracy), ``constant_balanced`` (shares in [0, 1]) and ``largest`` (its class); ``absent``
    names classes without images, "" where there is none."""
    found = [record for record in records if record["kind"] == "attack"]
    frame = attack_frame(found)
    rates = [balanced_accuracy(record) for record in found]
    answers = [constant_classifier(record) for record in found]
    return frame.assign(
        balanced=[rate.value for rate in rates],
        balanced_low=[rate.interval[0] for rate in rates],
        balanced_high=[rate.interval[1] for rate in rates],
        constant=[answer.accuracy.value for answer in answers],
        constant_balanced=[answer.balanced for answer in answers],
        largest=[answer.name for answer in answers],
        absent=[", ".join(absent_classes(record)) for record in found],
    )
