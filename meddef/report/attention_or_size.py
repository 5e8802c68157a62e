"""Attention or size? The full model beside controls of its size and of its self-attention.

All are trained adversarially, with the same settings and seeds, and attacked on the same images.
"""

from __future__ import annotations

import pandas as pd

from meddef.catalogue import usual_training
from meddef.report.controls import ATTACK, Parts, condition_words, effects, judgement
from meddef.report.display import Table, Text
from meddef.report.labels import short_label
from meddef.report.paired import METHOD, tally
from meddef.report.report import Dataset, Report

TRAINED = "adversarial"
# The question: the model with more, and the model with less.
QUESTIONS = {
    "size alone": ("plain_capacity", "resnet18"),
    "effect beyond size": ("full", "plain_capacity"),
    "self-attention alone": ("attention_only", "resnet18"),
    "effect beyond self-attention": ("full", "attention_only"),
}
PARTS: dict[str, Parts] = {
    name: [(1, (more, TRAINED)), (-1, (less, TRAINED))] for name, (more, less) in QUESTIONS.items()
}
MODELS = tuple(dict.fromkeys(variant for pair in QUESTIONS.values() for variant in pair))
NONE = "The two controls for the full model's size were not trained here."


def has_all(report: Report, dataset: Dataset) -> bool:
    """Whether ResNet18, the full model and both controls of its size were trained adversarially."""
    return {(variant, TRAINED) for variant in MODELS} <= set(report.models(dataset.name))


def table(report: Report, eps: float) -> Table:
    """Differences of accuracy in percentage points, one row per condition, one column per question."""
    rows = []
    for dataset in report.datasets:
        for condition, found in effects(report, dataset, eps, PARTS).items():
            first = next(iter(found.values()))
            cells = {_heading(name): f"{each.cell()}\n{each.evidence()}" for name, each in found.items()}
            common = {
                "dataset": dataset.label, "condition": condition_words(condition), "n": str(first.n),
                "seeds": str(first.trainings),
            }  # fmt: skip
            rows.append(common | cells)
    sizes = f" Parameters: {told}." if (told := _sizes(report)) else ""
    caption = (
        f"Models trained adversarially, the first minus the second, in percentage points.{sizes} {METHOD}"
    )
    return Table(pd.DataFrame(rows), caption, header=2)


def verdict(report: Report, eps: float) -> Text:
    """The effects of size and of self-attention, in sentences; or why they cannot be separated."""
    sentences = []
    for dataset in report.datasets:
        found = effects(report, dataset, eps, PARTS)
        for condition in (("clean", None), (ATTACK, eps)):
            told = "; ".join(f"{name} {judgement(each)}" for name, each in found.get(condition, {}).items())
            sentences += [f"{dataset.words}, {condition_words(condition)}: {told}."] if told else []
        if found:
            tallies = "; ".join(
                f"{name}: {tally(each[name] for each in found.values())}" for name in QUESTIONS
            )
            sentences.append(f"{dataset.words}, on clean images and under attacks: {tallies}.")
    return Text("\n".join(f"- {sentence}" for sentence in sentences) or NONE)


def _heading(name: str) -> str:
    more, less = (short_label(variant, usual_training(variant)) for variant in QUESTIONS[name])
    return f"{name}:\n{more} minus {less}"


def _sizes(report: Report) -> str:
    """ "ResNet18 11.18 M, ..." of the models of the questions."""
    found = {record["variant"]: record["parameters"] for record in report.of("train")}
    return ", ".join(
        f"{short_label(variant, usual_training(variant))} {found[variant] / 1e6:.2f} M"
        for variant in MODELS
        if variant in found
    )
