"""False positives of the verdict "clear" where models differ only by the randomness of training, for two tests.

Seeds of one model are compared with each other, and trainings of one kind with their labels shuffled. The earlier test
treated only images as random; the current one treats trainings and images as random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from meddef.report.display import Table
from meddef.report.labels import attack_name, attack_rank
from meddef.report.paired import compare, right, sign_flip_p
from meddef.report.report import Dataset, Report
from meddef.statistics import FEWEST_TRAININGS, holm

SHUFFLED = "adversarial"  # the training of most models
DRAWS = 500
GRIDS = ("test", "epsilon", "small_epsilon")
Condition = tuple[str, float]  # attack, epsilon
Training = tuple[str, str, int]  # variant, training, seed
Answers = dict[Condition, dict[Training, np.ndarray]]  # correct images, int (n,)


def answers(report: Report, dataset: Dataset) -> Answers:
    """Correct images of every training, clean and under every attack with an ε that all of them faced."""
    found: Answers = {}
    for record in report.alike(*GRIDS, dataset=dataset.name):
        if record["attack"] == "clean" or record["eps"]:
            by_training = found.setdefault((record["attack"], record["eps"] or 0.0), {})
            training = record["variant"], record["training"], record["seed"]
            by_training[training] = right(record).astype(np.int64)
    everyone = set().union(*found.values())
    whole = {condition: ours for condition, ours in found.items() if set(ours) == everyone}
    return dict(sorted(whole.items(), key=lambda item: (attack_rank(item[0][0]), item[0][1])))


def seed_pairs(trainings: Iterable[Training]) -> list[tuple[Training, Training]]:
    """Every two seeds of one model."""
    return [(a, b) for a, b in combinations(sorted(trainings), 2) if a[:2] == b[:2]]


def shuffles(trainings: Iterable[Training]) -> list[tuple[list[Training], list[Training]]]:
    """``DRAWS`` ways to take three against three of the ``SHUFFLED`` trainings, regardless of the model."""
    pool = sorted(training for training in trainings if training[1] == SHUFFLED)
    random = np.random.default_rng(0)
    drawn = [random.permutation(len(pool))[: 2 * FEWEST_TRAININGS] for _ in range(DRAWS)]
    sides = ((ways[:FEWEST_TRAININGS], ways[FEWEST_TRAININGS:]) for ways in drawn)
    return [([pool[i] for i in first], [pool[i] for i in second]) for first, second in sides]


def pair_p(found: Answers, pair: tuple[Training, Training]) -> list[float]:
    """p by images alone (McNemar), a condition each."""
    return [sign_flip_p(ours[pair[0]] - ours[pair[1]]) for ours in found.values()]


def draw_p(found: Answers, sides: tuple[list[Training], list[Training]]) -> tuple[list[float], list[float]]:
    """Per condition: p of images alone (1 where the seeds' signs differ, as earlier), and p of the current test."""
    old, today = [], []
    for ours in found.values():
        first, second = (np.array([ours[training] for training in side]) for side in sides)
        signs = set(np.sign((first - second).mean(axis=1)))
        old.append(sign_flip_p((first - second).sum(axis=0)) if len(signs) == 1 else 1.0)
        today.append(compare([first, -second], margin=0.0).p_value)
    return old, today


def table(report: Report) -> Table | None:
    """Rate of "clear" where only the randomness of training differs, one row per condition; None where ``report`` has
    too few trainings: three seeds of a model, and two models with ``SHUFFLED`` training."""
    for dataset in report.datasets:
        if enough(found := answers(report, dataset)):
            return _table(found, report.title_of(dataset))
    return None


def enough(found: Answers) -> bool:
    """Whether there are enough trainings to compare, in pairs of seeds and three with three."""
    trainings = next(iter(found.values()), {})
    same = [training for training in trainings if training[1] == SHUFFLED]
    return bool(seed_pairs(trainings)) and len(same) >= 2 * FEWEST_TRAININGS


def rates(found: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p of seed pairs by images alone (pairs, conditions), and of the ``shuffles`` by the earlier and the current test
    (draws, conditions each)."""
    trainings = next(iter(found.values()))
    pairs = np.array([pair_p(found, pair) for pair in seed_pairs(trainings)])
    drawn = [draw_p(found, sides) for sides in shuffles(trainings)]
    return pairs, np.array([old for old, _ in drawn]), np.array([today for _, today in drawn])


def _table(found: Answers, where: str) -> Table:
    kinds = rates(found)
    corrected = [np.array([holm(row) for row in p.tolist()]) < 0.05 for p in kinds]
    clear = [p < 0.05 for p in kinds]
    sizes = [len(next(iter(ours.values()))) for ours in found.values()]
    names = [attack_name(attack) + (f", ε = {eps:.2g}" if eps else "") for attack, eps in found]
    rows = [
        _row(name, str(n), [p[:, i] for p in clear], corrected[0][:, i])
        for i, (name, n) in enumerate(zip(names, sizes, strict=True))
    ]
    rows.append(_row("all together", "", clear, corrected[0]))
    any_of = [np.array([row.any() for row in p]) for p in corrected]
    rows.append(_row("any, after correction", "", any_of, any_of[0]))
    trainings = next(iter(found.values()))
    pairs, pool = len(kinds[0]), sum(training[1] == SHUFFLED for training in trainings)
    caption = (
        "False positive rate of each test where models differ only by the randomness of training; nominal: 5 %. "
        f"{where}. "
        f"Seed pairs: all {pairs} pairs of seeds of {len({t[:2] for t in trainings})} models, McNemar's test over "
        f"images, also Holm-corrected for the {len(names)} conditions of a pair. Shuffled: {DRAWS} random "
        f"draws of three against three of the {pool} trainings with {SHUFFLED} training, regardless of the model, by "
        "the earlier test (images alone, one sign for all seeds) and by the current one (trainings and images), "
        "uncorrected. The last row counts pairs and draws with at least one difference after correction. Below 5 % the "
        'current test is conservative, at the price that "open" is a common outcome. The draws reuse the same '
        "trainings, so their number does not indicate how much the shares would vary with other trainings."
    )
    return Table(pd.DataFrame(rows), caption)


def _row(name: str, n: str, clear: list[np.ndarray], corrected: np.ndarray) -> Mapping[str, str]:
    pairs, old, today = clear
    return {
        "condition": name,
        "n": n,
        "seed pairs,\nimages alone": f"{pairs.sum()} of {pairs.size}",
        "the same,\ncorrected": f"{corrected.sum()} of {corrected.size}",
        "shuffled,\nimages alone": f"{100 * old.mean():.1f} %",
        "shuffled,\ncurrent test": f"{100 * today.mean():.1f} %",
    }
