"""Typical wrong answers to lab 5."""

import torch
import torch.nn.functional as F

from meddef.attacks import fgsm
from meddef.training.schedule import EpsilonSchedule

SCHEDULE = EpsilonSchedule(100)
CE = F.cross_entropy


def epsilon(instead, where):
    """The schedule, but for the epochs in ``where``."""
    return lambda epoch: instead(epoch) if epoch in where else SCHEDULE.epsilon(epoch)


def step(objective, sign=1, attack=fgsm, factor=1):
    """A training step on ``objective(clean loss, attacked loss, weight)``."""

    def train(model, images, labels, *, eps, weight, rate):
        attacked = attack(model, images, labels, eps=eps)
        loss = objective(CE(model(images), labels), CE(model(attacked), labels), weight)
        weights = list(model.parameters())
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, slope in zip(weights, slopes, strict=True):
                w -= sign * factor * rate * slope

    return train


def mixed(clean, attacked, weight):
    return (1 - weight) * clean + weight * attacked


def helping(model, images, labels, *, eps):
    return (2 * images - fgsm(model, images, labels, eps=eps)).clamp(0, 1)


WRONG = {
    "lab5.epsilon": [
        (epsilon(lambda e: 0.02 + 0.02 * (e - 8) / 15, range(9, 23)), "grows linearly"),
        (epsilon(lambda e: 0.04, range(23, 100)), "at most 0.03"),
        (epsilon(lambda e: 0.019, [8]), "the value of the phase before"),
        (epsilon(lambda e: 0.01 + 0.01 * (e + 1) / 8, range(8)), "one epoch ahead"),
        (lambda e: 0.03, "the schedule gives 0.0100"),
    ],
    "lab5.loss": [
        (lambda c, a, y, w: w * CE(c, y) + (1 - w) * CE(a, y), "the weights are swapped"),
        (lambda c, a, y, w: CE(c, y) + w * CE(a, y), "keeps its full weight"),
        (lambda c, a, y, w: CE(c, y), "clean images only"),
        (lambda c, a, y, w: CE(a, y), "attacked images only"),
        (lambda c, a, y, w: (CE(c, y) + CE(a, y)) / 2, "plain mean"),
        (lambda c, a, y, w: 8 * mixed(CE(c, y), CE(a, y), w), "sum over images"),
        (lambda c, a, y, w: CE((1 - w) * c + w * a, y), "mixed the logits"),
        (lambda c, a, y, w: 2 * CE(c, y), "clean + w · attacked is"),
    ],
    "lab5.passes": [
        (lambda steps, share: 1 + steps + 1, "attacks every image"),
        (lambda steps, share: 1 + share * steps, "must also learn from"),
        (lambda steps, share: share * (steps + 1), "without the pass on the clean batch"),
        (lambda steps, share: share * steps, "only the attack"),
        (lambda steps, share: 1 + share * (2 * steps + 1), "so is the unit"),
        (lambda steps, share: 40, "Add up"),
    ],
    "lab5.train_step": [
        (lambda model, images, labels, **given: None, "weights are as they were"),
        (step(lambda clean, attacked, weight: clean), "clean images only"),
        (step(lambda clean, attacked, weight: attacked), "attacked images only"),
        (step(lambda clean, attacked, weight: mixed(attacked, clean, weight)), "are swapped"),
        (step(mixed, sign=-1), "the weights climbed"),
        (step(mixed, attack=helping), "make the model *better*"),
        (step(mixed, factor=3), "moved 3.00 times as far"),
    ],
}
