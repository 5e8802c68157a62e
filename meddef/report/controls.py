"""Attention or adversarial training? Two architectures, each trained both ways, on the same images. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from meddef.records import Record
from meddef.report.display import Table, Text, p_text
from meddef.report.largest_class import WHY, survivors
from meddef.report.paired import METHOD, Effect, corrected, effect
from meddef.report.report import ATTACKS, Dataset, Report, attack_name, short_label, usual_training

ATTACK = "pgd"  # at every budget; the other attacks at one
ARCHITECTURES = ("resnet18", "full")
TRAININGS = ("clean", "adversarial")
MODELS = [(variant, training) for variant in ARCHITECTURES for training in TRAININGS]
DAAM = {training: f"DAAM, {training} training" for training in TRAININGS}
TRAINING = {variant: f"adversarial training, {variant}" for variant in ARCHITECTURES}
INTERACTION = "interaction"
# Each effect: the models whose accuracies are added, and taken away.
EFFECTS: dict[str, list[tuple[int, tuple[str, str]]]] = {
    **{name: [(1, ("full", training)), (-1, ("resnet18", training))] for training, name in DAAM.items()},
    **{name: [(1, (variant, "adversarial")), (-1, (variant, "clean"))] for variant, name in TRAINING.items()},
    INTERACTION: [
        (1, ("full", "adversarial")),
        (-1, ("resnet18", "adversarial")),
        (-1, ("full", "clean")),
        (1, ("resnet18", "clean")),
    ],
}
HEADINGS = {
    DAAM["clean"]: "DAAM added,\nclean training",
    DAAM["adversarial"]: "DAAM added,\nadversarial training",
    TRAINING["resnet18"]: "adversarial training,\nResNet18",
    TRAINING["full"]: "adversarial training,\nFull DAAM",
    INTERACTION: "interaction",
}
NONE = (
    "This profile does not train ResNet18 and the full model both ways, so it has no answer; profiles that list "
    "`controls` do."
)
Condition = tuple[str, float | None]  # attack, epsilon


def has_all(report: Report, dataset: Dataset) -> bool:
    """Whether all four models were trained on the dataset."""
    return set(MODELS) <= set(report.models(dataset.name))


def conditions(
    report: Report, dataset: Dataset, eps: float
) -> dict[Condition, dict[tuple[str, str], dict[int, Record]]]:
    """(attack, epsilon) -> (variant, training) -> seed -> record: what the effects are computed from.

    Without attack on the whole test split, PGD at every budget that was run, the other attacks at ``eps``.
    """
    found: dict[Condition, dict[tuple[str, str], dict[int, Record]]] = {}
    for record in report.alike("test", "epsilon", "small_epsilon", dataset=dataset.name):
        attack, budget = record["attack"], record["eps"] or None
        if attack == ATTACK or budget in (eps, None):
            by_model = found.setdefault((attack, budget), {})
            by_model.setdefault((record["variant"], record["training"]), {})[record["seed"]] = record
    return dict(sorted(found.items(), key=lambda item: (ATTACKS.index(item[0][0]), item[0][1] or 0.0)))


def effects(report: Report, dataset: Dataset, eps: float) -> dict[Condition, dict[str, Effect]]:
    """(attack, epsilon) -> the five effects of ``EFFECTS``, their p-values corrected for all of them (Holm)."""
    if not has_all(report, dataset):
        return {}
    found: dict[tuple[Condition, str], Effect] = {}
    for condition, records in conditions(report, dataset, eps).items():
        ours = {
            name: effect([(sign, records.get(model, {})) for sign, model in parts])
            for name, parts in EFFECTS.items()
        }
        if all(ours.values()):  # an unfinished run may lack a model here
            found |= {(condition, name): each for name, each in ours.items() if each}
    result: dict[Condition, dict[str, Effect]] = {}
    for (condition, name), difference in corrected(found).items():
        result.setdefault(condition, {})[name] = difference
    return result


def table(report: Report, eps: float) -> Table:
    """The effects of architecture and of training, a row a condition."""
    rows = []
    for dataset in report.datasets:
        for (attack, budget), found in effects(report, dataset, eps).items():
            first = next(iter(found.values()))
            cells = {
                HEADINGS[name]: f"{each.cell()}\np {p_text(each.p_value)}" for name, each in found.items()
            }
            rows.append(
                {
                    "dataset": dataset.label,
                    "condition": attack_name(attack) + (f", ε = {budget:.2g}" if budget else ""),
                    "n": str(first.n),
                    "seeds": str(len(first.by_seed)),
                    **cells,
                }
            )
    caption = (
        "What moves accuracy, in percentage points: DAAM added to ResNet18 under each training, adversarial in place "
        "of clean training of each architecture, and how much more DAAM adds where training is adversarial than where "
        f"it is clean (interaction). {METHOD}"
    )
    return Table(pd.DataFrame(rows), caption, header=2)


def verdict(report: Report, eps: float) -> Text:
    """What DAAM and what adversarial training contribute, in sentences; says so where it cannot be told."""
    sentences = []
    for dataset in report.datasets:
        found = effects(report, dataset, eps)
        if (ATTACK, eps) in found:
            attacked = conditions(report, dataset, eps)[ATTACK, eps]
            sentences += [_at(dataset, found[ATTACK, eps], eps), _of_one_class(attacked), _over_all(found)]
    return Text("\n".join(f"- {sentence}" for sentence in sentences) or NONE)


def _at(dataset: Dataset, found: dict[str, Effect], eps: float) -> str:
    first = found[INTERACTION]
    seeds = f", {len(first.by_seed)} seeds" if len(first.by_seed) > 1 else ""
    training = " and ".join(f"{found[TRAINING[v]].words()} for {plain_label(v)}" for v in ARCHITECTURES)
    daam = f"{found[DAAM['adversarial']].words()} where training is adversarial and by {found[DAAM['clean']].words()}"
    return (
        f"{dataset.label}, {attack_name(ATTACK)} at ε = {eps:g}, n = {first.n}{seeds}: adversarial training moves "
        f"accuracy by {training}; DAAM moves it by {daam} where it is clean."
    )


def _of_one_class(attacked: Mapping[tuple[str, str], Mapping[int, Record]]) -> str:
    """How many of the images that stay right show the largest class."""
    found = {variant: survivors(attacked[variant, "adversarial"].values()) for variant in ARCHITECTURES}
    shares = " and ".join(f"{s.largest} of {s.right} for {plain_label(v)}" for v, s in found.items())
    first = found[ARCHITECTURES[0]]
    return (
        f"Of the images that stay right with adversarial training, {shares} show {first.name}, as "
        f"{100 * first.share:.0f} % of all do; {WHY}."
    )


def plain_label(variant: str) -> str:
    """The name of an architecture, however it was trained."""
    return short_label(variant, usual_training(variant))


def _over_all(found: dict[Condition, dict[str, Effect]]) -> str:
    """How many effects are clear, and the largest that DAAM has under adversarial training."""
    clear = {
        what: sum(each[name].is_clear for each in found.values() for name in names)
        for what, names in (("training", TRAINING.values()), ("daam", DAAM.values()))
    }
    of = len(ARCHITECTURES) * len(found)
    of_daam = {condition: each[DAAM["adversarial"]] for condition, each in found.items()}
    (attack, budget), most = max(of_daam.items(), key=lambda item: (item[1].is_clear, abs(item[1].value)))
    chance = "" if most.is_clear else ", which could be chance"
    where = attack_name(attack) + (f" at ε = {budget:.2g}" if budget else "")
    return (
        f"Over {len(found)} conditions, without attack and under attacks, the effect of adversarial training is clear "
        f"in {clear['training']} of {of} comparisons, that of DAAM in {clear['daam']} of {of} (p below 0.05 after "
        f"correction, and the same sign for every seed). The largest {'clear ' * most.is_clear}effect of DAAM with "
        f"adversarial training: {most.words()}, {where}, n = {most.n}{chance}."
    )
