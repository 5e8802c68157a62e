"""Attention or adversarial training? Two architectures, each trained cleanly and adversarially, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from meddef.catalogue import usual_training
from meddef.records import Record
from meddef.report.display import Table, Text
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import attack_name, attack_rank, short_label
from meddef.report.largest_class import WHY, survivors
from meddef.report.paired import METHOD, Effect, corrected, effect, in_order, tally
from meddef.report.report import Dataset, Report

ATTACK = "pgd"  # at every budget; the other attacks at one
ARCHITECTURES = ("resnet18", "full")
TRAININGS = ("clean", "adversarial")
MODELS = [(variant, training) for variant in ARCHITECTURES for training in TRAININGS]
DAAM = {training: f"full model for ResNet18, {training} training" for training in TRAININGS}
TRAINING = {variant: f"adversarial training, {variant}" for variant in ARCHITECTURES}
INTERACTION = "interaction"
# Each effect: the models whose accuracies are added, and taken away.
Parts = list[tuple[int, tuple[str, str]]]
EFFECTS: dict[str, Parts] = {
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
    DAAM["clean"]: "full model\nfor ResNet18,\nclean training",
    DAAM["adversarial"]: "full model\nfor ResNet18,\nadversarial\ntraining",
    TRAINING["resnet18"]: "adversarial\ntraining,\nResNet18",
    TRAINING["full"]: "adversarial\ntraining,\nFull DAAM",
    INTERACTION: "interaction",
}
IN_PLACE = "Replacing ResNet18 by the full model adds DAAM, self-attention and their fusion"
NONE = (
    "This profile does not train both ResNet18 and the full model cleanly and adversarially; profiles that list "
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

    Clean on the whole test split, PGD at every budget that was run, the other attacks at ``eps``.
    """
    found: dict[Condition, dict[tuple[str, str], dict[int, Record]]] = {}
    for record in report.alike("test", "epsilon", "small_epsilon", dataset=dataset.name):
        attack, budget = record["attack"], record["eps"] or None
        if attack == ATTACK or budget in (eps, None):
            by_model = found.setdefault((attack, budget), {})
            by_model.setdefault((record["variant"], record["training"]), {})[record["seed"]] = record
    return dict(sorted(found.items(), key=lambda item: (attack_rank(item[0][0]), item[0][1] or 0.0)))


def effects(
    report: Report, dataset: Dataset, eps: float, of: Mapping[str, Parts] = EFFECTS
) -> dict[Condition, dict[str, Effect]]:
    """(attack, epsilon) -> the effects ``of``, each a question with p-values corrected for its conditions.

    Equivalence on clean images and under PGD is tested in the order of ε (``in_order``), the others as a family.
    Empty where a model was not trained.
    """
    if not {model for parts in of.values() for _, model in parts} <= set(report.models(dataset.name)):
        return {}
    found: dict[str, dict[Condition, Effect]] = {name: {} for name in of}
    for condition, records in conditions(report, dataset, eps).items():
        ours = {
            name: effect([(sign, records.get(model, {})) for sign, model in parts])
            for name, parts in of.items()
        }
        if all(ours.values()):  # an unfinished run may lack a model here
            for name, each in ours.items():
                found[name] |= {condition: each} if each else {}
    result: dict[Condition, dict[str, Effect]] = {condition: {} for condition in found[next(iter(of))]}
    for name, of_conditions in found.items():
        for condition, each in _judged(of_conditions).items():
            result[condition][name] = each
    return result


def _judged(found: Mapping[Condition, Effect]) -> dict[Condition, Effect]:
    """One question's effects, corrected."""
    ordered = in_order({c: each for c, each in found.items() if _in_sequence(c)})
    same = ordered | corrected({c: each for c, each in found.items() if not _in_sequence(c)})
    return {c: replace(each, p_equivalence=same[c].p_equivalence) for c, each in corrected(found).items()}


def _in_sequence(condition: Condition) -> bool:
    return condition[0] in ("clean", ATTACK)


def table(report: Report, eps: float) -> Table:
    """The effects of architecture and of training, one row per condition."""
    rows = []
    for dataset in report.datasets:
        for condition, found in effects(report, dataset, eps).items():
            first = next(iter(found.values()))
            rows.append(
                {
                    "dataset": dataset.label,
                    "condition": condition_words(condition),
                    "n": str(first.n),
                    "seeds": str(first.trainings),
                    **{HEADINGS[name]: f"{each.cell()}\n{each.evidence()}" for name, each in found.items()},
                }
            )
    caption = (
        "Effects on accuracy, in percentage points: replacing ResNet18 by the full model under each training, "
        "replacing clean by adversarial training for each architecture, and the difference between the "
        f"architecture's effects under adversarial and clean training (interaction). {IN_PLACE}{_sizes(report)}. "
        f"{METHOD} "
        "Equivalence on clean images and under PGD is tested in the order of ε, until one test fails."
    )
    return Table(pd.DataFrame(rows), caption, header=2)


def _sizes(report: Report) -> str:
    """ " (21.8 M parameters against 11.2 M)", of the largest dataset's models; nothing where they were not trained."""
    found = {r["variant"]: r["parameters"] for r in report.of("train")}
    full, plain = (found.get(variant) for variant in ("full", "resnet18"))
    return f" ({full / 1e6:.1f} M parameters against {plain / 1e6:.1f} M)" if full and plain else ""


def condition_words(condition: Condition) -> str:
    """ "PGD, ε = 0.05"."""
    attack, budget = condition
    return attack_name(attack) + (f", ε = {budget:.2g}" if budget else "")


def verdict(report: Report, eps: float) -> Text:
    """The effects of architecture and of adversarial training, in sentences; or why they cannot be separated."""
    sentences = []
    for dataset in report.datasets:
        found = effects(report, dataset, eps)
        if (ATTACK, eps) in found:
            attacked = conditions(report, dataset, eps)[ATTACK, eps]
            sentences += [_at(dataset, found[ATTACK, eps], eps), _of_one_class(attacked)]
            sentences += [_same(found), _over_all(found)]
    return Text(
        "\n".join(f"- {sentence}" for sentence in sentences) + f"\n- {IN_PLACE}{_sizes(report)}."
        if sentences
        else NONE
    )


def _at(dataset: Dataset, found: dict[str, Effect], eps: float) -> str:
    first = found[INTERACTION]
    seeds = f", {first.trainings} seeds" if first.trainings > 1 else ""
    training = " and ".join(f"{judgement(found[TRAINING[v]])} for {plain_label(v)}" for v in ARCHITECTURES)
    adversarial, clean = (judgement(found[DAAM[training]]) for training in ("adversarial", "clean"))
    return (
        f"{dataset.words}, {attack_name(ATTACK)} at ε = {eps:g}, n = {first.n}{seeds}: adversarial training changes "
        f"accuracy by {training}; replacing ResNet18 by the full model changes it by {adversarial} under adversarial "
        f"and by {clean} under clean training."
    )


def judgement(found: Effect) -> str:
    """ "+47.3 points [+40.1, +54.6] (clear)"."""
    return f"{found.words()} ({found.verdict})"


def _of_one_class(attacked: Mapping[tuple[str, str], Mapping[int, Record]]) -> str:
    """How many of the images that stay correct show the largest class."""
    found = {variant: survivors(attacked[variant, "adversarial"].values()) for variant in ARCHITECTURES}
    shares = " and ".join(f"{s.largest} of {s.right} for {plain_label(v)}" for v, s in found.items())
    first = found[ARCHITECTURES[0]]
    return (
        f"Of the images that stay correct with adversarial training, {shares} show {in_markdown(first.name)}, as do "
        f"{100 * first.share:.0f} % of all; {WHY}."
    )


def _same(found: dict[Condition, dict[str, Effect]]) -> str:
    """Up to which ε the two architectures, both trained adversarially, are shown to be equally accurate."""
    ours = {c: each[DAAM["adversarial"]] for c, each in found.items() if _in_sequence(c)}
    few = [(c, each) for c, each in ours.items() if not each.decides]
    if few:
        differ = "; ".join(condition_words(c) for c, each in few if each.these_differ)
        return (
            f"ResNet18 and the full model, both trained adversarially: {few[0][1].these} "
            f"{f'differ ({differ})' if differ else 'are not shown to differ'}. So few allow no conclusion about the "
            "architectures, either way."
        )
    shown = [c for c, each in ours.items() if each.is_equivalent]
    left = [
        f"{condition_words(c)}: {each.words()}, {each.verdict}"
        for c, each in ours.items()
        if not each.is_equivalent
    ]
    if not shown:
        return (
            "ResNet18 and the full model, both trained adversarially, are not shown to be equally accurate under any "
            f"condition ({'; '.join(left)})."
        )
    margins = " and ".join(
        f"±{margin:g} points {where}"
        for attack, where in (("clean", "on clean images"), (ATTACK, f"under {attack_name(ATTACK)}"))
        for margin in {ours[c].margin for c in shown if c[0] == attack}
    )
    largest = max((c for c in shown), key=lambda c: c[1] or 0.0)
    up_to = f", up to ε = {largest[1]:.2g}" if largest[1] else ""
    rest = f" Not shown: {'; '.join(left)}." if left else ""
    return (
        "ResNet18 and the full model, both trained adversarially, are equally accurate within the margin, shown by "
        f"equivalence tests in the order of ε: {margins}{up_to} ({ours[shown[0]].trainings} trainings each).{rest}"
    )


def plain_label(variant: str) -> str:
    """The name of an architecture, however it was trained."""
    return short_label(variant, usual_training(variant))


def _over_all(found: dict[Condition, dict[str, Effect]]) -> str:
    """Each question's verdicts over all conditions, and the largest effect of the architecture."""
    names = (*TRAINING.values(), *DAAM.values())
    tallies = [
        (HEADINGS[name].replace("\n", " "), tally(each[name] for each in found.values())) for name in names
    ]
    told = "; ".join(f"{name}: {tallied}" for name, tallied in tallies)
    of_full = {condition: each[DAAM["adversarial"]] for condition, each in found.items()}
    condition, most = max(of_full.items(), key=lambda item: (item[1].is_clear, abs(item[1].value)))
    return (
        f"On clean images and under attacks, by effect: {told}. The largest effect of replacing ResNet18 by the full "
        f"model under adversarial training: {judgement(most)}, {condition_words(condition)}, n = {most.n}."
    )
