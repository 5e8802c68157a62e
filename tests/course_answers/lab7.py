"""Typical wrong answers to lab 7."""

import math

import torch

from meddef.paper import compression_table

WIDE = compression_table().pivot(index=["dataset", "variant", "prune_rate"], columns="attack", values="asr")
ZERO = list(WIDE.index[(WIDE == 0).all(axis=1)])


def prune(key=torch.abs, count=lambda rate, n: round(rate * n)):
    def pruned(weights, rate):
        flat = torch.cat([weight.flatten() for weight in weights])
        flat[key(flat).argsort()[: count(rate, len(flat))]] = 0
        parts = flat.split([weight.numel() for weight in weights])
        return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]

    return pruned


def in_place(weights, rate):
    for new, old in zip(prune()(weights, rate), weights, strict=True):
        old.copy_(new)
    return weights


def rates(robust=None, asr=None):
    """A report with one rate wrong: functions of the boolean tensors correct before and correct after."""

    def report(before, after, labels):
        b, a = before == labels, after == labels
        right = {
            "clean": b.double().mean(),
            "robust": robust(b, a) if robust else a.double().mean(),
            "asr": asr(b, a) if asr else (b & ~a).sum() / b.sum() if b.any() else math.nan,
        }
        return {name: float(value) for name, value in right.items()}

    return report


WRONG = {
    "lab7.prune": [
        (lambda weights, rate: [prune()([w], rate)[0] for w in weights], "each layer by the same share"),
        (prune(lambda w: -w.abs()), "the *largest* weights"),
        (prune(lambda w: w), "ranked by value"),
        (prune(count=lambda rate, n: n - round(rate * n)), "kept 40% instead"),
        (in_place, "changed the weights"),
        (prune(count=lambda rate, n: 0), "0 of 50 weights are 0"),
        (lambda weights, rate: [2 * w for w in prune()(weights, rate)], "weights that stay have changed"),
        (lambda weights, rate: prune()(weights, rate)[0], "return a list of 2 tensors"),
    ],
    "lab7.report": [
        (lambda before, after, labels: 0.5, "return a dict"),
        (rates(robust=lambda b, a: (b & a).sum() / len(b)), "the repaired one is correct after"),
        (rates(robust=lambda b, a: 1 - (b & ~a).sum() / b.sum()), "not 1 − ASR"),
        (rates(robust=lambda b, a: 0), "7 of 10"),
        (rates(asr=lambda b, a: (b & ~a).sum() / len(b)), "divide by 8"),
        (rates(asr=lambda b, a: 1 - a.sum() / b.sum()), "hides a success"),
        (rates(asr=lambda b, a: (b != a).sum() / b.sum()), "counts changed predictions"),
        (rates(asr=lambda b, a: (b & ~a).sum() / b.sum().clamp(min=1)), "not 0 but undefined"),
    ],
    "lab7.collapsed": [
        (lambda answers: len(answers.unique()) == 1, "one prediction of 200 differs"),
        (lambda answers: answers.bincount().max().item() >= 0.9 * len(answers), "nine of ten"),
        (
            lambda answers: answers.double().mean().item() >= 0.99,
            "one prediction of 200 differs, so the largest share",
        ),
        (lambda answers: False, "every prediction is class 1, so"),
        (lambda answers: True, "both classes are predicted"),
        (lambda answers: 0.99, "True or False is required"),
    ],
    "lab7.zero_rows": [
        (list(WIDE.index[(WIDE == 0).any(axis=1)]), "rows with *any* 0"),
        ([row for row in ZERO if row[2] == 0.8], "0.8 only"),
        (list(WIDE.index[(WIDE < 1).all(axis=1)]), "rows below 1 %"),
        ([], "your list is empty"),
        ([("table4", "full", 0.8)], "is no row of the tables"),
        (ZERO[1:], "is missing: bim 0.00"),
    ],
}
