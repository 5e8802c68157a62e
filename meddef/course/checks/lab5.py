"""Lab 5: adversarial training."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from meddef.attacks import fgsm
from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse
from meddef.training.schedule import AGGRESSIVE_EPOCHS, PAPER_EPOCHS, WARMUP_EPOCHS, EpsilonSchedule

EPS, WEIGHT, RATE = 0.05, 0.3, 0.1
COUNT = 16


@exercise("lab5.epsilon")
def epsilon(student: Any) -> str:
    schedule = EpsilonSchedule(PAPER_EPOCHS)
    first, last = WARMUP_EPOCHS, WARMUP_EPOCHS + AGGRESSIVE_EPOCHS
    for epoch in (0, 4, 7, 8, 13, 22, 23, 50, 99):
        answer, right = number(call(student, epoch)), schedule.epsilon(epoch)
        here = f"in epoch {epoch} ({schedule.phase(epoch)}) you say ε = {answer:.4f}"
        if close(answer, right):
            continue
        linear = 0.02 + 0.02 * (epoch - first) / AGGRESSIVE_EPOCHS
        if first <= epoch < last and close(answer, linear):
            raise Wrong(
                f"{here}: that grows linearly. This phase grows with the square of the share that is done."
            )
        if epoch >= last and answer > 0.03:
            raise Wrong(
                f"{here}: in the last phase ε is at most 0.03, less than where the second phase ended."
            )
        if epoch in (first, last):
            raise Wrong(
                f"{here}, the value of the phase before. Epochs count from 0: the warm-up's {first} are 0 to "
                f"{first - 1}, "
                f"the second phase begins in epoch {first}, the third in epoch {last}."
            )
        if epoch < first and close(answer, 0.01 + 0.01 * (epoch + 1) / WARMUP_EPOCHS):
            raise Wrong(f"{here}: one epoch ahead. Epoch 0 begins at 0.01.")
        raise Wrong(f"{here}; the schedule gives {right:.4f}.")
    return "Linear, quadratic, constant, and each phase begins where it should."


@exercise("lab5.loss")
def loss(student: Any) -> str:
    generator = torch.Generator().manual_seed(0)
    clean, attacked = torch.randn((2, 8, 3), generator=generator, dtype=torch.float64)
    labels = torch.arange(8) % 3
    answer = number(call(student, clean, attacked, labels, WEIGHT))
    on_clean, on_attacked = F.cross_entropy(clean, labels), F.cross_entropy(attacked, labels)
    right = (1 - WEIGHT) * on_clean + WEIGHT * on_attacked
    refuse(
        answer,
        {
            "the weights are swapped: `weight` belongs to the attacked images.": WEIGHT * on_clean
            + (1 - WEIGHT) * on_attacked,
            "the clean loss keeps its full weight. The two weights add up to 1: (1 − w) and w.": on_clean
            + WEIGHT * on_attacked,
            "this is the loss on clean images only.": on_clean,
            "this is the loss on attacked images only, which forgets clean accuracy.": on_attacked,
            "this is the plain mean of the two; use `weight`.": (on_clean + on_attacked) / 2,
            "this is the sum over images. Take the mean, or the learning rate would depend on the batch.": 8
            * right,
            "you mixed the logits and took one loss. Mix the losses: no image has mixed logits.": F.cross_entropy(
                (1 - WEIGHT) * clean + WEIGHT * attacked, labels
            ),
        },
    )
    if not close(answer, right):
        raise Wrong(f"you return {answer:.4f}, and (1 − w) · clean + w · attacked is {float(right):.4f}.")
    return "(1 − w) · loss on clean + w · loss on attacked images."


@exercise("lab5.passes")
def passes(student: Any) -> str:
    for steps, share in ((40, 0.35), (1, 0.5)):
        answer = number(call(student, steps, share))
        here = f"for {steps} steps and a share of {share} you say {answer:g}"
        refuse(
            answer,
            {
                f"{here}: that attacks every image. Only the share is attacked.": 1.0 + steps + 1,
                f"{here}: the model must also learn from the attacked images, one more pass for each of them.": 1
                + share * steps,
                f"{here}: without the pass on the clean batch.": share * (steps + 1),
                f"{here}: only the attack. Learning takes passes too, on clean and on attacked images.": share
                * steps,
                f"{here}: an attack's step is one forward and one backward pass, and so is the unit.": 1
                + share * (2 * steps + 1),
            },
        )
        if not close(answer, 1 + share * (steps + 1)):
            raise Wrong(
                f"{here}. Add up: 1 for the clean batch, and share · (steps + 1) for the attacked part."
            )
    return "1 for the clean batch, share · (steps + 1) for the attacked part."


def _step(model: kit.Net, objective: Tensor) -> list[Tensor]:
    weights = list(model.parameters())
    slopes = torch.autograd.grad(objective, weights, retain_graph=True)
    return [(weight - RATE * slope).detach() for weight, slope in zip(weights, slopes, strict=True)]


def _same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return all(close(a, b) for a, b in zip(found, wanted, strict=True))


@exercise("lab5.train_step")
def train_step(student: Any) -> str:
    data, before = kit.phantoms(), kit.network(seed=7)
    images, labels = data.train_images[:COUNT], data.train_labels[:COUNT]
    model = copy.deepcopy(before)
    call(student, model, images, labels, eps=EPS, weight=WEIGHT, rate=RATE, trains=True)
    found = [weight.detach() for weight in model.parameters()]
    start = [weight.detach() for weight in before.parameters()]
    attacked = fgsm(before, images, labels, eps=EPS)

    def on(x: Tensor) -> Tensor:
        return F.cross_entropy(before(x), labels)

    mixed = (1 - WEIGHT) * on(images) + WEIGHT * on(attacked)
    right = _step(before, mixed)
    if _same(found, start):
        raise Wrong(
            "the weights are as they were. Change them in place, under `torch.no_grad()`: `w -= rate * slope`."
        )
    known = {
        "the model learnt from clean images only.": on(images),
        "the model learnt from attacked images only.": on(attacked),
        "the weights of the two losses are swapped.": WEIGHT * on(images) + (1 - WEIGHT) * on(attacked),
        "the weights climbed: the loss has risen. Subtract rate · slope. (Images climb, weights descend.)": -mixed,
        "you trained on images that make the model *better*: the attack must add the step.": (1 - WEIGHT)
        * on(images)
        + WEIGHT * on((2 * images - attacked).clamp(0, 1)),
    }
    for message, objective in known.items():
        if _same(found, _step(before, objective)):
            raise Wrong(message)
    if not _same(found, right):
        ratio = float((found[0] - start[0]).norm() / (right[0] - start[0]).norm())
        raise Wrong(
            f"the first layer moved {ratio:.2f} times as far as one step of SGD on the mixed loss moves it, or "
            f"elsewhere. "
            "Attack the weights as they are, once, with FGSM; then one step: w − rate · slope."
        )
    return "One step of SGD on clean and freshly attacked images."
