"""Typical wrong answers to lab 4."""

import math

import torch

from meddef.attacks import jsma as reference
from meddef.paper import epsilon_table

CELLS = epsilon_table().query("attack == 'jsma'")
SPREAD = CELLS.groupby(["dataset", "variant"])["accuracy"].agg(lambda a: a.max() - a.min())


def jsma(*, budget=1.0, random=False, sign=1, clamp=True, stop=True, still=False, swap=False):
    """Single-feature JSMA with one thing wrong."""

    def attack(model, images, labels, *, theta, gamma):
        flat, rows = images.flatten(1).clone(), torch.arange(len(images))
        generator = torch.Generator().manual_seed(0)
        for _ in range(math.floor(budget * gamma * flat.shape[1])):
            x = (images if still else flat.view_as(images)).clone().requires_grad_()
            logits = model(x)
            target, own = (labels, 1 - labels) if swap else (1 - labels, labels)
            (a,) = torch.autograd.grad(logits[rows, target].sum(), x, retain_graph=True)
            (b,) = torch.autograd.grad(logits[rows, own].sum(), x)
            a, b = sign * a.flatten(1), sign * b.flatten(1)
            score = torch.where((a > 0) & (b < 0), -a * b, 0).masked_fill((flat >= 1) & clamp, 0)
            if random:
                score = torch.rand(score.shape, generator=generator)
            value, best = score.max(1)
            moves = (value > 0) & ((logits.argmax(1) == labels) | (not stop))
            flat[rows[moves], best[moves]] += sign * theta
            flat = flat.clamp(0, 1) if clamp else flat
        return flat.view_as(images)

    return attack


def all_at_once(model, images, labels, *, theta, gamma):
    """Spreads the whole budget over the first features found."""
    found = reference(model, images, labels, theta=theta, gamma=gamma, features=1)
    extra = math.floor(gamma * images[0].numel())
    flat, start = found.flatten(1).clone(), images.flatten(1)
    for row, old in zip(flat, start, strict=True):
        room = extra - int((row != old).sum())
        free = ((row == old) & (row < 0.9)).nonzero()[:room, 0]
        row[free] += 1e-9
    return flat.view_as(images)


WRONG = {
    "lab4.l0": [
        (lambda before, after: (before != after).any(1).flatten(1).sum(1), "you count pixels"),
        (lambda before, after: (before - after).abs().flatten(1).sum(1), "(L1)"),
        (
            lambda before, after: ((before - after).abs() > 0.01).flatten(1).sum(1),
            "small changes are missing",
        ),
        (lambda before, after: (before != after).double().flatten(1).mean(1), "share of changed features"),
        (lambda before, after: (after > before).flatten(1).sum(1), "only rises are counted"),
        (lambda before, after: (before != after).sum().expand(3), "for the batch in every place"),
        (lambda before, after: (before == after).flatten(1).sum(1), "features differ"),
    ],
    "lab4.saliency": [
        (lambda a, b: -a * b, "no feature is ruled out"),
        (lambda a, b: torch.where(b < 0, -a * b, 0), "features that lower the target"),
        (lambda a, b: torch.where(a > 0, -a * b, 0), "features that raise the other classes"),
        (lambda a, b: torch.where((a > 0) & (b < 0), a * b, 0), "your map is negative"),
        (lambda a, b: torch.where((a > 0) & (b < 0), a, 0), "uses α alone"),
        (lambda a, b: torch.where((a > 0) & (b < 0), a - b, 0), "this is α − β"),
        (lambda a, b: a.abs() + b.abs(), "the map is α · |β|"),
    ],
    "lab4.jsma": [
        (lambda model, images, labels, *, theta, gamma: images.clone(), "no feature has changed"),
        (jsma(budget=6, stop=False), "Round down, and stop there"),
        (jsma(random=True), "your attack fools the model on"),
        (jsma(sign=-1), "some features went down"),
        (jsma(clamp=False, still=True), "clamp the feature that you moved"),
        (all_at_once, "leave it alone from there"),
    ],
    "lab4.spread": [
        (CELLS["accuracy"].max() - CELLS["accuracy"].min(), "spread over the whole column"),
        (SPREAD.mean(), "the mean spread"),
        (SPREAD.min(), "the smallest spread"),
        (SPREAD["chest_xray"].max(), "largest on chest X-rays"),
        (0, "you say 0.00"),
    ],
}
