"""Lab 6: gradient masking, and defences that only look perfect."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse, rows, tensor
from meddef.course.defences import InTurn, Noisy, Quantised, quantise
from meddef.paper import epsilon_table

COUNT, BROKEN = 6, 40
EPS, STEPS, DRAWS = 0.05, 10, 16
SLACK = 4


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]


class _Ramp(nn.Module):
    """Answers by the mean of the pixels above 1/2: images without such pixels have a gradient of exactly 0."""

    def forward(self, images: Tensor) -> Tensor:
        value = F.relu(images.flatten(1) - 0.5).mean(1)
        return torch.stack([value, -value], dim=1)


@exercise("lab6.zero_share")
def zero_share(student: Any) -> str:
    images = torch.full((8, 1, 4, 4), 0.25, dtype=torch.float64)
    images[:3, :, :2] = 0.75  # three images have a gradient, in half of their pixels
    images[0] *= 1.2
    labels = torch.zeros(8, dtype=torch.int64)
    answer = number(call(student, _Ramp(), images, labels))
    refuse(
        answer,
        {
            "you count pixels. An image is only stuck if *all* of its pixels have slope 0: use `.all(1)` after "
            "`.flatten(1)`.": float((_gradient(_Ramp(), images, labels) == 0).double().mean()),
            "you count images with *any* pixel of slope 0. Such images can still be attacked: all must be 0.": 1.0,
            "this is the share of images that can be attacked. Asked are those that cannot.": 3 / 8,
            "return a share, not the number of images.": 5.0,
        },
    )
    if not close(answer, 5 / 8):
        raise Wrong(f"you return {answer:.3f}; 5 of these 8 images have a gradient that is 0 in every pixel.")
    model = kit.network(seed=7)
    with torch.no_grad():
        for weight in list(model.parameters())[-2:-1]:  # the last layer: tiny slopes, none of them 0
            weight.mul_(1e-9)
    data = kit.phantoms()
    tiny = number(call(student, model, data.test_images[:COUNT], data.test_labels[:COUNT]))
    if tiny:
        raise Wrong(
            "you also count gradients that are tiny but not 0. Their sign is as good as any: compare with exactly 0."
        )
    return "Exactly 0 in every pixel, image by image."


@exercise("lab6.bpda_gradient")
def bpda_gradient(student: Any) -> str:
    data, model = kit.phantoms(), kit.network(seed=7)
    images, labels = data.test_images[:COUNT], data.test_labels[:COUNT]
    answer = tensor(call(student, model, quantise, images, labels), images.shape)
    right = _gradient(model, quantise(images), labels)
    refuse(
        answer,
        {
            "your gradient is 0: it went through `quantise`. Quantise first, and let the gradient begin *behind* it.": 0
            * right,
            "you took the gradient at the image itself. The model sees the quantised image: take it there.": _gradient(
                model, images, labels
            ),
            'the gradient is divided by the number of images: use `reduction="sum"`.': right / COUNT,
            "you took the sign already. Return the gradient.": right.sign(),
            "the sign is turned.": -right,
        },
    )
    if not close(answer, right):
        raise Wrong("that is not the model's gradient at `quantise(images)`.")
    return "The gradient at the quantised image, used as if quantising were the identity."


@exercise("lab6.eot_gradient")
def eot_gradient(student: Any) -> str:
    data = kit.phantoms()
    images, labels = data.test_images[:COUNT], data.test_labels[:COUNT]
    nets = [kit.network(seed=seed) for seed in range(3)]
    each = torch.stack([_gradient(net, images, labels) for net in nets])
    answer = tensor(call(student, InTurn(nets), images, labels, draws=3), images.shape)
    refuse(
        answer,
        {
            "this is the gradient of one draw. Ask the model `draws` times.": each[0],
            "this is the gradient of the last draw: add the gradients up.": each[2],
            "this is the sum. Divide by the number of draws.": each.sum(0),
            "you averaged signs. A small wrong slope then weighs as much as a large right one: average "
            "gradients.": each.sign().mean(0),
            "this is the sign of the mean. Return the mean itself.": each.mean(0).sign(),
            'the mean is also divided by the number of images: use `reduction="sum"`.': each.mean(0) / COUNT,
        },
    )
    if not close(answer, each.mean(0)):
        raise Wrong("that is not the mean of the gradients of 3 draws; each draw is one call of the model.")
    return "The mean gradient: an estimate of the gradient of the expected loss."


def _climb(gradient: Any, images: Tensor) -> Tensor:
    """PGD from the image with a gradient of its own."""
    x = images
    for _ in range(STEPS):
        x = (x + EPS / 4 * gradient(x).sign()).clamp(images - EPS, images + EPS).clamp(0, 1)
    return x


@exercise("lab6.break")
def break_(student: Any) -> str:
    data, model = kit.phantoms(), kit.trained()
    images, labels = data.test_images[:BROKEN], data.test_labels[:BROKEN]
    said = []
    for name, defence in (("quantised", Quantised(model)), ("noisy", Noisy(model))):
        attacked = tensor(call(student, defence, images, labels, eps=EPS), images.shape)
        far = float((attacked - images).abs().max())
        if far > EPS + 1e-9 or float(attacked.min()) < -1e-9 or float(attacked.max()) > 1 + 1e-9:
            raise Wrong(
                f"on the {name} defence a pixel moved by {far:.3f} (ε is {EPS}) or left [0, 1]: project after "
                f"each step."
            )
        still = int((attacked == images).flatten(1).all(1).sum())
        if still == BROKEN:
            raise Wrong(
                f"on the {name} defence no image has changed: you followed a gradient that is 0. Use exercise 2's."
            )
        if name == "quantised":
            own = _climb(lambda x: _gradient(model, quantise(x), labels), images)
        else:
            draw = Noisy(model, seed=1000)
            own = _climb(lambda x: sum(_gradient(draw, x, labels) for _ in range(DRAWS)), images)  # noqa: B023
        left, possible = (kit.correct(copy.deepcopy(defence), x, labels) for x in (attacked, own))
        clean = kit.correct(copy.deepcopy(defence), images, labels)
        if left > possible + SLACK:
            raise Wrong(
                f"the {name} defence is correct on {clean} of {BROKEN} clean images and still on {left} under "
                f"yours; {possible} is possible. "
                + (
                    "Take the gradient behind `quantise`, for several steps."
                    if name == "quantised"
                    else "Average the gradient over draws, for several steps."
                )
            )
        said.append(f"{name}: {left} of {BROKEN} right")
    return "; ".join(said) + "."


@exercise("lab6.rising")
def rising(answer: Any) -> str:
    given = rows(answer, 2)
    pgd = epsilon_table().query("attack == 'pgd'")
    wide = pgd.pivot(index=["dataset", "variant"], columns="eps", values="accuracy")
    right = set(wide.index[wide[0.10] > wide[0.01]])
    if given == right:
        return f"{len(right)} of {len(wide)} models: a larger ball would make the worst case milder."
    strict = set(wide.index[(wide[0.05] > wide[0.01]) & (wide[0.10] > wide[0.05])])
    if given == strict:
        raise Wrong("you ask for a rise at both steps. One comparison is enough: ε = 0.10 against ε = 0.01.")
    if given == set(wide.index[wide[0.10] < wide[0.01]]) or not given:
        raise Wrong(
            "these are the models whose accuracy *falls*, as it must. Asked are those where it rises."
        )
    if given == {row for row in right if row[0] == "chest_xray"} or given == {
        row for row in right if row[0] == "roct"
    }:
        raise Wrong("you looked at one dataset. Both tables are asked for.")
    row = min(given - set(wide.index) or given ^ right, key=str)
    if row not in wide.index:
        raise Wrong(f"{row} is no model of the tables. Write (dataset, variant) as they stand in them.")
    at = f"{wide.loc[row, 0.01]:.2f} % at ε = 0.01 and {wide.loc[row, 0.10]:.2f} % at 0.10"
    raise Wrong(f"{row} has {at} under PGD, and is {'missing' if row in right else 'in your list'}.")
