"""Typical wrong answers to lab 2."""

import math

import torch
import torch.nn.functional as F

from meddef.paper import epsilon_table


def project(x, images, eps):
    return x.clamp(images - eps, images + eps).clamp(0, 1)


def by_length(x, images, eps):
    norms = (x - images).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (images + (x - images) * eps / norms).clamp(0, 1)


def pgd(*, step=1.0, sign=True, around="images", last=0, first="start", still=False, fewer=0, box=True):
    """PGD with one thing wrong."""

    def attack(model, images, labels, *, eps, step_size, steps, start):
        x = {"start": start, "images": images}[first]
        iterates = [x]
        for _ in range(steps - fewer):
            leaf = (iterates[0] if still else x).clone().requires_grad_()
            g = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)[0]
            x = x + step * step_size * (g.sign() if sign else g)
            if around == "images":
                x = x.clamp(images - eps, images + eps)
            elif around == "last":
                x = x.clamp(iterates[-1] - eps, iterates[-1] + eps)
            if box:
                x = x.clamp(0, 1)
            iterates.append(x)
        return iterates[len(iterates) - 1 - last]

    return attack


def losses(model, labels, candidates):
    return torch.stack([F.cross_entropy(model(x), labels, reduction="none") for x in candidates])


def picked(best):
    return lambda model, labels, candidates: candidates[
        best(losses(model, labels, candidates)), torch.arange(4)
    ]


def cells(keep):
    table = epsilon_table().pivot(index=["dataset", "variant", "eps"], columns="attack", values="accuracy")
    return [row for row in table.index if keep(table.loc[row, "bim"] - table.loc[row, "pgd"])]


WRONG = {
    "lab2.project": [
        (lambda x, images, eps: x.clamp(0, 1), "must also be within ε"),
        (lambda x, images, eps: x.clamp(images - eps, images + eps), "have left [0, 1]"),
        (by_length, "projection for the L2 norm"),
        (lambda x, images, eps: images, "you returned the images"),
        (lambda x, images, eps: (x - images).clamp(-eps, eps), "only the perturbation"),
        (lambda x, images, eps: x.clamp(images - 2 * eps, images + 2 * eps), "a pixel is still 0.1"),
        (lambda x, images, eps: (images + eps * (x - images).sign()).clamp(0, 1), "inside the ball"),
    ],
    "lab2.pgd": [
        (pgd(around="nothing"), "left the ε-ball at step 1 by 0.020: project after the step"),
        (pgd(around="last"), "not around the last iterate"),
        (pgd(box=False), "clamp to [0, 1] as well"),
        (pgd(step=-1), "first step goes down"),
        (pgd(sign=False), "take its sign"),
        (pgd(still=True), "every gradient was taken at the starting point"),
        (pgd(last=1), "before the last step"),
        (pgd(first="images"), "yours begins at the images"),
        (pgd(fewer=3), "you took 3 gradient(s) where steps = 6"),
        (pgd(step=2.5), "your step has length ε"),
        (pgd(step=0.5), "differ from step 1 on"),
    ],
    "lab2.steps_needed": [
        (lambda eps, step: math.ceil(eps / step), "from the middle"),
        (lambda eps, step: math.floor(2 * eps / step + 1e-9), "just short of the edge"),
        (lambda eps, step: 2 * eps / step, "whole numbers"),
        (lambda eps, step: math.ceil(2 * eps / step), "one too many"),
        (lambda eps, step: 40, "from one edge of the ball to the other"),
    ],
    "lab2.worst_case": [
        (lambda model, labels, candidates: candidates[-1], "the last restart"),
        (picked(lambda loss: loss.argmin(0)), "the restart that failed most"),
        (
            lambda model, labels, candidates: candidates[losses(model, labels, candidates).sum(1).argmax()],
            "image by image",
        ),
        (lambda model, labels, candidates: candidates.mean(0), "no restart found"),
        (picked(lambda loss: loss.argsort(0)[1]), "did not take the highest"),
        (lambda model, labels, candidates: losses(model, labels, candidates).amax(0), "returned shape (4,)"),
    ],
    "lab2.far_apart": [
        (cells(lambda d: d > 90), "your list is empty"),
        (cells(lambda d: True), "these are all cells"),
        (cells(lambda d: abs(d) > 60), "points only"),
        ([row for row in cells(lambda d: abs(d) > 90) if row[0] == "roct"], "cell(s) are missing"),
        ([("table1", "resnet18", 0.01)], "is no cell of the tables"),
        (["resnet18"], "must be a tuple of 3"),
        (7, "a list of tuples is required"),
    ],
}
