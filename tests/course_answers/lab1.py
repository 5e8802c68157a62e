"""Typical wrong answers to lab 1."""

import math

import torch
import torch.nn.functional as F


def gradient(model, images, labels, reduction="sum", sign=1):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(sign * F.cross_entropy(model(x), labels, reduction=reduction), x)[0]


def of_the_logit(model, images, labels):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(model(x)[torch.arange(len(x)), labels].sum(), x)[0]


def by_backward(model, images, labels):
    x = images.clone().requires_grad_()
    F.cross_entropy(model(x), labels, reduction="sum").backward()
    return x.grad


def prints_only(model, images, labels):
    gradient(model, images, labels)


def of_a_detached_image(model, images, labels):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x.detach()), labels), x)[0]


def fgsm(step, clamp=True):
    def attack(model, images, labels, eps):
        x = images + step(gradient(model, images, labels), eps)
        return x.clamp(0, 1) if clamp else x

    return attack


def in_place(model, images, labels, eps):
    images += eps * gradient(model, images, labels).sign()
    return images.clamp_(0, 1)


def shares(count, of):
    """An attack success rate from counts of truth tensors."""
    return lambda before, after, labels: (
        count(before == labels, after == labels, before != after) / of(before == labels)
    )


WRONG = {
    "lab1.input_gradient": [
        (lambda *given: gradient(*given, reduction="mean"), "averaged over the batch"),
        (lambda *given: gradient(*given, sign=-1), "points the other way"),
        (of_the_logit, "true class's logit"),
        (by_backward, "`.grad` of the model's weights"),
        (prints_only, "returned nothing"),
        (of_a_detached_image, "stopped with RuntimeError"),
        (lambda *given: gradient(*given).sum(0), "returned shape (1, 32, 32)"),
        (lambda *given: gradient(*given).sign(), "took the sign already"),
        (lambda *given: gradient(*given) ** 2, "cosine with the right gradient"),
    ],
    "lab1.fgsm": [
        (fgsm(lambda g, eps: -eps * g.sign()), "you walked down"),
        (fgsm(lambda g, eps: eps * g), "ε times the gradient"),
        (fgsm(lambda g, eps: eps * g.sign(), clamp=False), "leave [0, 1]"),
        (fgsm(lambda g, eps: eps / 255 * g.sign()), "divided by 255"),
        (fgsm(lambda g, eps: eps * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)), "bounded in L2"),
        (in_place, "changed an input tensor"),
        (fgsm(lambda g, eps: g.sign()), "more than ε"),
        (
            lambda model, images, labels, eps: eps * gradient(model, images, labels).sign(),
            "perturbation alone",
        ),
    ],
    "lab1.predicted_rise": [
        (lambda g, eps: eps * g.flatten(1).norm(dim=1), "Euclidean length"),
        (lambda g, eps: eps * g.flatten(1).sum(1), "cancel"),
        (lambda g, eps: eps * g.abs().flatten(1).mean(1), "mean over pixels"),
        (lambda g, eps: g.abs().flatten(1).sum(1), "without ε"),
        (lambda g, eps: eps * g.abs().sum(), "returned shape ()"),
        (lambda g, eps: 2 * eps * g.abs().flatten(1).sum(1), "for the first image you predict"),
    ],
    "lab1.asr": [
        (lambda before, after, labels: (after != labels).double().mean(), "wrong before it are no success"),
        (shares(lambda b, a, c: (b & ~a).sum(), lambda b: len(b)), "you divided by all images"),
        (shares(lambda b, a, c: c.sum(), lambda b: b.sum()), "counts a repaired image"),
        (shares(lambda b, a, c: b.sum() - a.sum(), lambda b: b.sum()), "differences of rates"),
        (shares(lambda b, a, c: 100 * (b & ~a).sum(), lambda b: b.sum()), "in percent"),
        (
            lambda before, after, labels: (
                float(((before == labels) & (after != labels)).sum()) / max(1, int((before == labels).sum()))
            ),
            "return `math.nan`",
        ),
        (lambda before, after, labels: math.pi, "3 of these are wrong"),
    ],
}
