"""Lab 1: gradients of an image, and FGSM by hand."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from meddef.attacks import fgsm
from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse, tensor

COUNT = 6
EPS = 0.05


def _subject() -> tuple[kit.Net, Tensor, Tensor]:
    """An untrained network and images with values at both ends of [0, 1]."""
    data = kit.phantoms()
    images = (data.test_images[:COUNT] * 1.3 - 0.15).clamp(0, 1)
    return kit.network(seed=7), images, data.test_labels[:COUNT]


def _gradient(model: kit.Net, images: Tensor, labels: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]


@exercise("lab1.input_gradient")
def input_gradient(student: Any) -> str:
    model, images, labels = _subject()
    answer = tensor(call(student, model, images, labels), images.shape)
    right = _gradient(model, images, labels)
    x = images.clone().requires_grad_()
    own = torch.autograd.grad(model(x).gather(1, labels[:, None]).sum(), x)[0]
    refuse(
        answer,
        {
            f"your gradient is the right one divided by {COUNT}, the number of images: the loss was averaged over the "
            'batch. An image\'s gradient must not depend on its neighbours: use `reduction="sum"`.': right
            / COUNT,
            "your gradient points the other way: something turned the sign of the loss.": -right,
            "this is the gradient of the true class's logit, not of the loss. Use `F.cross_entropy`.": own,
            "all entries are 0 or ±1: you took the sign already. Return the gradient itself.": right.sign(),
            "your gradient is 0 everywhere. Was the loss computed from the tensor that requires the gradient?": 0
            * right,
        },
    )
    if not close(answer, right):
        cosine = float(F.cosine_similarity(answer.flatten(), right.flatten(), dim=0))
        raise Wrong(
            f"the shape is right but not the values (cosine with the right gradient: {cosine:.2f}). Take the "
            f"derivative "
            "of the summed cross-entropy with respect to the images."
        )
    if any(parameter.grad is not None for parameter in model.parameters()):
        raise Wrong(
            "the values are right, but `loss.backward()` has also filled the `.grad` of the model's weights, "
            "which would "
            "leak into the next training step. Ask for one gradient only: `torch.autograd.grad(loss, x)`."
        )
    return f"{COUNT} gradients, one per image, and the model is as it was."


@exercise("lab1.fgsm")
def fgsm_by_hand(student: Any) -> str:
    model, images, labels = _subject()
    answer = tensor(call(student, model, images, labels, EPS), images.shape)
    gradient = _gradient(model, images, labels)
    right = fgsm(model, images, labels, eps=EPS)
    change = answer - images
    farthest = float(change.abs().max())
    norms = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    refuse(
        answer,
        {
            "you walked down: the loss falls. Add the step, so that it rises.": (
                images - EPS * gradient.sign()
            ).clamp(0, 1),
            f"the pixels leave [0, 1] (from {float(answer.min()):.2f} to {float(answer.max()):.2f}): such an "
            f"image cannot "
            "be saved or shown. End with `.clamp(0, 1)`.": images + EPS * gradient.sign(),
            f"no pixel moved by more than {farthest:.4f}, far less than ε = {EPS}: you added ε times the gradient. "
            "FGSM takes its sign.": (images + EPS * gradient).clamp(0, 1),
            "you divided the gradient by its length, which is the step of an attack bounded in L2. In L∞ every pixel "
            "may use its whole ε: take the sign.": (images + EPS * gradient / norms).clamp(0, 1),
            f"the pixels moved by {EPS / 255:.5f}: ε was divided by 255. Images here are in [0, 1], and so is ε.": (
                images + EPS / 255 * gradient.sign()
            ).clamp(0, 1),
            "you returned the perturbation alone. Add it to the images.": EPS * gradient.sign(),
        },
    )
    if farthest > EPS + 1e-9:
        raise Wrong(
            f"a pixel moved by {farthest:.4f}, more than ε = {EPS}: the sign must be multiplied by ε, once."
        )
    if not close(answer, right):
        wrong = float((answer - right).abs().gt(1e-6).double().mean())
        raise Wrong(
            f"{wrong:.0%} of the pixels are not where FGSM puts them. Compare with x + ε · sign(gradient), then clamp."
        )
    return f"No pixel moved by more than {EPS}, and all are in [0, 1]."


@exercise("lab1.predicted_rise")
def predicted_rise(student: Any) -> str:
    gradient = _gradient(*_subject())
    answer = tensor(call(student, gradient, EPS), (COUNT,))
    flat = gradient.flatten(1)
    right = EPS * flat.abs().sum(1)
    refuse(
        answer,
        {
            "this is ε times the Euclidean length, which is right for an attack bounded in L2. For a step of ±ε "
            "in every "
            "pixel, each pixel adds ε times the size of its own slope.": EPS * flat.norm(dim=1),
            "positive and negative slopes cancel in your sum. FGSM chooses the sign of every pixel so that none "
            "does: sum "
            "absolute values.": EPS * flat.sum(1),
            "this is the mean over pixels; all pixels move at once, so their rises add up.": EPS
            * flat.abs().mean(1),
            "this is the sum of slopes without ε: multiply by the length of the step.": flat.abs().sum(1),
            "this is one number for the whole batch in every place. Sum over the pixels of each image only: "
            "`.flatten(1)` keeps the first axis.": right.sum().expand(COUNT),
        },
    )
    if not close(answer, right):
        raise Wrong(
            f"for the first image you predict {float(answer[0]):.4f}; the linear model predicts {float(right[0]):.4f}. "
            "Write the rise as Σ slope · step over the pixels, with step = ε · sign(slope)."
        )
    return "ε times the L1 norm of the gradient: no step within the ε-ball raises the linear model more."


@exercise("lab1.asr")
def attack_success_rate(student: Any) -> str:
    labels = torch.tensor([0, 0, 1, 1, 1, 0, 1, 1, 0, 1])
    before = torch.tensor([0, 0, 1, 1, 1, 0, 1, 0, 1, 0])  # 7 right
    after = torch.tensor([1, 0, 0, 0, 1, 0, 1, 1, 1, 0])  # 3 of them flipped, one wrong answer repaired
    answer = number(call(student, before, after, labels))
    refuse(
        answer,
        {
            "this is the share of all images that are wrong after the attack. Images that were wrong before it are no "
            "success of the attack.": 0.5,
            "you divided by all images. Only those that were correct before could be flipped: divide by their "
            "number.": 0.3,
            "you counted every changed prediction, also the one that the attack repaired. Count correct before "
            "*and* wrong after.": 0.4,
            "this is the share of images that are correct after the attack, so the model's success.": 5 / 10,
            "changed predictions over those correct before counts a repaired image as a success: require correct "
            "before and wrong after.": 4 / 7,
            "the fall of accuracy over the accuracy before hides that one wrong answer was repaired: count images, not "
            "differences of rates.": 2 / 7,
            "this is in percent. Return a share between 0 and 1.": 300 / 7,
        },
    )
    if not close(answer, 3 / 7):
        raise Wrong(
            f"you return {answer:.4f} where 7 images were correct before the attack and 3 of these are wrong after it."
        )
    nobody = call(student, torch.tensor([1, 1]), torch.tensor([1, 0]), torch.tensor([0, 0]))
    value = number(nobody)
    if value == value:
        raise Wrong(
            f"when no image was correct before the attack you return {value:.2f}. There is nothing to succeed at, "
            f"and 0 would "
            "look like a perfect defence: return `math.nan`."
        )
    return "3 of 7, and NaN where there is nothing to attack."
