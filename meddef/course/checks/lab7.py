"""Lab 7: pruning, and what an attack success rate of 0 % means for a collapsed model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meddef.course.answers import Wrong, call, close, exercise, number, refuse, rows, tensor, truth
from meddef.paper import compression_table

RATE = 0.4


def _weights() -> list[Tensor]:
    """A layer of large and one of small weights, all of different size."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn((4, 5), generator=generator, dtype=torch.float64),
        0.2 * torch.randn((3, 10), generator=generator, dtype=torch.float64),
    ]


def _pruned(weights: list[Tensor], key: Any, count: int) -> list[Tensor]:
    """``count`` weights with the smallest ``key`` set to 0, over all layers together."""
    flat = torch.cat([weight.flatten() for weight in weights])
    flat[key(flat).argsort()[:count]] = 0
    return [
        part.view_as(w) for part, w in zip(flat.split([w.numel() for w in weights]), weights, strict=True)
    ]


@exercise("lab7.prune")
def prune(student: Any) -> str:
    weights = _weights()
    answer = call(student, weights, RATE)
    if not isinstance(answer, list | tuple) or len(answer) != len(weights):
        raise Wrong(f"return a list of {len(weights)} tensors, one for each that was given.")
    found = [
        tensor(part, weight.shape, "one of your layers") for part, weight in zip(answer, weights, strict=True)
    ]
    total = sum(weight.numel() for weight in weights)
    count = round(RATE * total)
    zeros = sum(int((part == 0).sum()) for part in found)

    def same(wanted: list[Tensor]) -> bool:
        return all(close(a, b) for a, b in zip(found, wanted, strict=True))

    by_layer = [_pruned([weight], torch.abs, round(RATE * weight.numel()))[0] for weight in weights]
    for message, wanted in {
        "you pruned each layer by the same share. The paper prunes globally: rank all weights together. (Its released "
        "code prunes by layer.)": by_layer,
        "you removed the *largest* weights.": _pruned(weights, lambda w: -w.abs(), count),
        "you ranked by value, so large negative weights went first. Rank by magnitude.": _pruned(
            weights, lambda w: w, count
        ),
        f"you kept {RATE:.0%} instead of removing {RATE:.0%}.": _pruned(weights, torch.abs, total - count),
    }.items():
        if same(wanted):
            raise Wrong(message)
    if zeros != count:
        raise Wrong(f"{zeros} of {total} weights are 0; at a rate of {RATE} it should be {count}.")
    if not same(_pruned(weights, torch.abs, count)):
        raise Wrong("the number of zeros is right, but they are others, or weights that stay have changed.")
    return f"{count} of {total} weights, the smallest of all layers together."


@exercise("lab7.report")
def report(student: Any) -> str:
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 0, 1])
    before = torch.tensor([0, 0, 1, 1, 1, 1, 0, 1, 0, 1])  # 8 right
    after = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])  # 2 flipped, 1 repaired: 7 right
    answer = call(student, before, after, labels)
    if not isinstance(answer, dict) or not {"clean", "robust", "asr"} <= set(answer):
        raise Wrong('return a dict with "clean", "robust" and "asr".')
    clean, robust, asr = (number(answer[name], f'"{name}"') for name in ("clean", "robust", "asr"))
    if not close(clean, 0.8):
        raise Wrong(f"clean accuracy is correct before / all, 8 of 10; you have {clean:.3f}.")
    refuse(
        robust,
        {
            "robust accuracy counted only images that were correct before as well: the repaired one is correct "
            "after, too.": 0.6,
            "robust accuracy is not 1 − ASR: the denominators differ. It is correct after / all.": 0.75,
        },
    )
    if not close(robust, 0.7):
        raise Wrong(f"robust accuracy is correct after / all, 7 of 10; you have {robust:.3f}.")
    refuse(
        asr,
        {
            "ASR counts flipped images among those that were correct before: divide by 8, not by 10.": 0.2,
            "your ASR is the fall of accuracy over clean accuracy; the repaired image hides a success.": 1
            / 8,
            "your ASR counts changed predictions, the repaired one included.": 3 / 8,
        },
    )
    if not close(asr, 0.25):
        raise Wrong(f"ASR is correct before and wrong after / correct before, 2 of 8; you have {asr:.3f}.")
    nothing = call(student, torch.tensor([1, 1]), torch.tensor([1, 1]), torch.tensor([0, 0]))
    if number(nothing["asr"], '"asr"') == 0:
        raise Wrong("with no image correct before, ASR is not 0 but undefined: `math.nan`.")
    return "Three numbers with three denominators kept apart."


@exercise("lab7.collapsed")
def collapsed(student: Any) -> str:
    cases = {
        "every prediction is class 1": ([1] * 30, True),
        "one prediction of 200 differs": ([0] * 199 + [1], True),
        "both classes are predicted": ([0, 1] * 20, False),
        "nine of ten predictions are class 1": (([1] * 9 + [0]) * 4, False),
        "every prediction is class 2 of four": ([2] * 50, True),
        "all four classes are predicted": ([0, 1, 2, 3] * 10, False),
    }
    for what, (answers, right) in cases.items():
        answer = truth(call(student, torch.tensor(answers)))
        if answer != right:
            share = max(answers.count(k) for k in set(answers)) / len(answers)
            raise Wrong(
                f"{what}, so the largest share of one class is {share:.1%}, and you say {answer}. Collapsed is "
                f"a share of at "
                "least 99 %, whatever the class."
            )
    return "The share of the most frequent prediction, whatever the class, without labels."


@exercise("lab7.zero_rows")
def zero_rows(answer: Any) -> str:
    given = rows(answer, 3)
    table = compression_table()
    wide = table.pivot(index=["dataset", "variant", "prune_rate"], columns="attack", values="asr")
    right = set(wide.index[(wide == 0).all(axis=1)])
    if given == right:
        return f"{len(right)} rows of {len(wide)}, all of them on {next(iter(right))[0]}."
    if given == set(wide.index[(wide == 0).any(axis=1)]):
        raise Wrong("these are rows with *any* 0. Asked are those where all four attacks have 0 %.")
    if given == {row for row in right if row[2] == 0.8}:
        raise Wrong("you looked at a pruning rate of 0.8 only. There is one more.")
    if given == set(wide.index[(wide < 1).all(axis=1)]):
        raise Wrong("these are rows below 1 %. Asked is exactly 0.")
    if not given:
        raise Wrong("your list is empty; ASR is in percent, and 0.00 is printed in the table.")
    row = min(given - set(wide.index) or given ^ right, key=str)
    if row not in wide.index:
        raise Wrong(
            f"{row} is no row of the tables. Write (dataset, variant, prune_rate) as they stand in them."
        )
    values = ", ".join(f"{name} {value:.2f}" for name, value in wide.loc[row].items())
    raise Wrong(f"{row} is {'missing' if row in right else 'in your list'}: {values}.")
