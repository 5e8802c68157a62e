"""Worst case over attacks for each model at one ε, at the headline budgets.

A headline names a budget at which something is left, 8/255, and beside it that of the paper's evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.balanced import ConstantClassifier, balanced_accuracy, constant_classifier
from meddef.report.display import budget, in_words, listed
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import attack_name, model_label, ordered_attacks
from meddef.report.report import Dataset, Report, by_model
from meddef.report.tables import epsilon_pairs
from meddef.report.worst_case import joint
from meddef.statistics import AttackCounts, mean_over_seeds

LEFT = 0.031373  # 8/255
PAPER: float = PROTOCOL["attacks"]["pgd"]["eps"]
BUDGETS = (LEFT, PAPER)
NAMED = ("resnet18", "full")  # the models of the headline sentences, however they were trained


@dataclass(frozen=True)
class Left:
    """Worst-case accuracy of one model: an image is correct only if it is correct under each of ``attacks``.

    ``rates`` holds "robust" and "balanced" with ``_low``, ``_high`` and ``_spread``, in percent, means over ``seeds``
    trainings of the ``n`` images that all the attacks saw. ``records`` are the worst cases, one per seed.
    """

    attacks: tuple[str, ...]
    n: int
    seeds: int
    rates: dict[str, float]
    constant: ConstantClassifier
    records: tuple[Record, ...]

    def what_remains(self) -> str:
        """For sentences: "43.0 ± 3.5 % [36.1, 49.9], balanced 32.1 %"."""
        return f"{in_words(self.rates, 'robust')}, balanced {self.rates['balanced']:.1f} %"

    def where(self, trained: int) -> str:
        """Attacks, images and seeds: "worst case over PGD and BIM, n = 200, 3 seeds", of ``trained`` seeds in all."""
        names = [attack_name(attack).replace(" (worst case)", "") for attack in self.attacks]
        over = listed(names)
        seeds = f", {self.seeds} of {trained} seeds" if self.seeds < trained else f", {trained} seeds"
        attacks = over if len(names) == 1 else f"worst case over {over}"
        return f"{attacks}, n = {self.n}{seeds if trained > 1 else ''}"


def budgets(report: Report, dataset: str | None = None) -> list[float]:
    """The headline's budgets at which ``report`` has attacks, on ``dataset`` or any: 8/255, and the paper's."""
    names = [dataset] if dataset else [each.name for each in report.datasets]
    return [eps for eps in BUDGETS if any(report.at(eps, name) for name in names)]


def left(report: Report, dataset: str, eps: float) -> dict[tuple[str, str], Left]:
    """(variant, training) -> what is left at ``eps``, over the attacks that every attacked training of it has.

    The images are those that all of them saw, so that no attack counts for images that another did not see.
    """
    found = {}
    for model, records in by_model(report.at(eps, dataset)).items():
        by_seed: dict[int, dict[str, Record]] = {}
        for record in records:
            by_seed.setdefault(record["seed"], {})[record["attack"]] = record
        shared = ordered_attacks(set.intersection(*(set(own) for own in by_seed.values())))
        if shared:
            n = min(own[attack]["n"] for own in by_seed.values() for attack in shared)
            worst = [joint([own[attack] for attack in shared], n) for _, own in sorted(by_seed.items())]
            found[model] = _together(shared, worst)
    return found


def _together(attacks: Iterable[str], worst: list[Record]) -> Left:
    counts = [
        AttackCounts(r["n"], r["correct_before"], r["correct_after"], r["flipped"]).robust_accuracy
        for r in worst
    ]
    rates = mean_over_seeds(counts, "robust") | mean_over_seeds(
        [balanced_accuracy(r) for r in worst], "balanced"
    )
    return Left(tuple(attacks), worst[0]["n"], len(worst), rates, constant_classifier(worst[0]), tuple(worst))


def strongest(report: Report, dataset: Dataset, eps: float) -> str:
    """Worst-case accuracy of ResNet18 and the full model at ``eps``, and the constant classifier; empty if unmeasured.

    Models with other attacks or images get a separate sentence.
    """
    found = left(report, dataset.name, eps)
    trained = by_model(report.of("train", dataset.name))
    alike: dict[str, list[tuple[str, Left]]] = {}
    for model in dict.fromkeys([*trained, *found]):
        if model[0] in NAMED and model in found:
            where = found[model].where(len(trained.get(model, found[model].records)))
            alike.setdefault(where, []).append((model_label(*model), found[model]))
    return " ".join(
        f"{dataset.words}, ε = {budget(eps)}, {where}: "
        f"{'; '.join([*(f'{label} keeps {each.what_remains()}' for label, each in models), constant(models[0][1])])}."
        for where, models in alike.items()
    )


def constant(each: Left) -> str:
    """The constant classifier on the same images."""
    answer = each.constant
    return (
        f"the constant classifier {in_markdown(answer.name)} {100 * answer.accuracy.value:.1f} %, "
        f"balanced {100 * answer.balanced:.1f} %"
    )


def like_with_like(
    report: Report, dataset: Dataset, model: tuple[str, str], eps: float
) -> list[dict[str, Any]]:
    """Each attack at ``eps`` for which the paper prints an accuracy of this model: "attack", "published" (percent) and
    the measured row of ``Report.attacks``, so that printed and measured values are of the same attack."""
    pairs = epsilon_pairs(report)
    ours = pairs[
        (pairs["dataset"] == dataset.name)
        & (pairs["variant"] == model[0])
        & (pairs["training"] == model[1])
        & (pairs["eps"] == eps)
        & (pairs["attack"] != "clean")
    ].dropna(subset=["published"])
    return [{str(name): value for name, value in row.items()} for row in ours.to_dict("records")]
