"""Typical wrong answers to lab 6."""

import torch
import torch.nn.functional as F

from meddef.attacks import fgsm
from meddef.paper import epsilon_table


def gradient(model, images, labels, reduction="sum"):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction=reduction), x)[0]


def zeros(reduce):
    return lambda model, images, labels: reduce(gradient(model, images, labels).flatten(1))


def through(model, quantise, images, labels):
    return gradient(lambda x: model(quantise(x)), images, labels)


def drawn(join, reduction="sum"):
    return lambda model, images, labels, *, draws: join(
        torch.stack([gradient(model, images, labels, reduction) for _ in range(draws)])
    )


def naive(defence, images, labels, *, eps):
    x = images
    for _ in range(10):
        x = (x + eps / 4 * gradient(defence, x, labels).sign()).clamp(images - eps, images + eps).clamp(0, 1)
    return x


def noise(defence, images, labels, *, eps):
    signs = torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return (images + eps * signs).clamp(0, 1)


def only_the_quantised(defence, images, labels, *, eps):
    if hasattr(defence, "sigma"):
        return noise(defence, images, labels, eps=eps)
    return naive(defence.model, images, labels, eps=eps)


WIDE = epsilon_table().query("attack == 'pgd'").pivot(
    index=["dataset", "variant"], columns="eps", values="accuracy"
)  # fmt: skip

WRONG = {
    "lab6.zero_share": [
        (zeros(lambda g: (g == 0).double().mean()), "you count pixels"),
        (zeros(lambda g: (g == 0).any(1).double().mean()), "images with *any* pixel"),
        (zeros(lambda g: (g != 0).any(1).double().mean()), "can be attacked"),
        (zeros(lambda g: (g == 0).all(1).sum()), "return a share"),
        (zeros(lambda g: (g.abs() < 1e-6).all(1).double().mean()), "tiny but not 0"),
        (zeros(lambda g: 0.5), "5 of these 8 images"),
    ],
    "lab6.bpda_gradient": [
        (through, "it went through `quantise`"),
        (lambda model, quantise, images, labels: gradient(model, images, labels), "at the image itself"),
        (
            lambda model, quantise, images, labels: gradient(model, quantise(images), labels, "mean"),
            "divided by the number of images",
        ),
        (
            lambda model, quantise, images, labels: gradient(model, quantise(images), labels).sign(),
            "the sign already",
        ),
        (
            lambda model, quantise, images, labels: -gradient(model, quantise(images), labels),
            "sign is turned",
        ),
        (lambda model, quantise, images, labels: quantise(images), "not the model's gradient"),
    ],
    "lab6.eot_gradient": [
        (drawn(lambda g: g[0]), "of one draw"),
        (drawn(lambda g: g[-1]), "of the last draw"),
        (drawn(lambda g: g.sum(0)), "Divide by the number of draws"),
        (drawn(lambda g: g.sign().mean(0)), "you averaged signs"),
        (drawn(lambda g: g.mean(0).sign()), "sign of the mean"),
        (drawn(lambda g: g.mean(0), "mean"), "also divided by the number of images"),
        (drawn(lambda g: g.amax(0)), "not the mean of the gradients"),
    ],
    "lab6.break": [
        (naive, "no image has changed"),
        (noise, "Take the gradient behind `quantise`"),
        (only_the_quantised, "Average the gradient over draws"),
        (
            lambda defence, images, labels, *, eps: fgsm(defence.model, images, labels, eps=2 * eps),
            "project after",
        ),
    ],
    "lab6.rising": [
        (list(WIDE.index[(WIDE[0.05] > WIDE[0.01]) & (WIDE[0.1] > WIDE[0.05])]), "a rise at both steps"),
        ([], "whose accuracy *falls*"),
        ([row for row in WIDE.index if row[0] == "chest_xray"], "one dataset"),
        ([("chest", "full"), *WIDE.index], "is no model of the tables"),
        (list(WIDE.index)[1:], "and is missing"),
    ],
}
