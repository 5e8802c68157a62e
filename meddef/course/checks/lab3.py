"""Lab 3: normalisation and ε."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse, tensor
from meddef.laboratory.broken import Switches, craft
from meddef.models import Normalized
from meddef.paper import PROTOCOL

COUNT = 5
EPS = 0.05
CHEST = PROTOCOL["datasets"]["chest_xray"]
MEAN, STD = CHEST["mean"], CHEST["std"]
VERDICTS = ("sound", "eps_normalised", "clamp_normalised", "no_clamp")


def _subject() -> tuple[Normalized, Tensor, Tensor]:
    """A network behind the paper's chest X-ray standardisation, and images that use all of [0, 1]."""
    data = kit.phantoms()
    images = (data.test_images[:COUNT] * 1.3 - 0.15).clamp(0, 1)
    model = Normalized(kit.network(seed=7).network, MEAN, STD).double().eval()
    return model, images, data.test_labels[:COUNT]


@exercise("lab3.normalised_eps")
def normalised_eps(student: Any) -> str:
    for eps, mean, std in ((EPS, MEAN, STD), (0.1, 0.3, 0.25)):
        answer = number(call(student, eps, mean, std))
        here = f"for ε = {eps} in pixels, mean {mean:.3f} and std {std:.3f} you say {answer:.4f}"
        refuse(
            answer,
            {
                f"{here}: that is ε times std, the way back. Standardising divides by std, and so does it a "
                f"distance.": eps * std,
                f"{here}: a distance is not an image. The mean cancels in the difference of two images: do not "
                f"subtract "
                "it.": (eps - mean) / std,
                f"{here}: unchanged. A step of ε in pixels is longer in standardised units, by 1 / std.": eps,
                f"{here}: divided by the mean. Distances are scaled by std only.": eps / mean,
            },
        )
        if not close(answer, eps / std):
            raise Wrong(f"{here}. Write two pixels ε apart, standardise both, and subtract.")
    return "ε / std: distances are divided by std, and the mean cancels."


@exercise("lab3.bounds")
def bounds(student: Any) -> str:
    answer = call(student, MEAN, STD)
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Wrong("return two numbers, (lowest, highest).")
    low, high = (number(value, "one of your bounds") for value in answer)
    for message, wrong in {
        "[0, 1] are the bounds of pixels. Black and white are standardised too.": (0.0, 1.0),
        "these are one standard deviation around 0, which most pixels keep and many do not.": (-1.0, 1.0),
        "these are mean ± std, in pixels. Standardise 0 and 1.": (MEAN - STD, MEAN + STD),
        "you divided 0 and 1 by std and forgot to subtract the mean first.": (0.0, 1 / STD),
        "you have mixed up the order: (lowest, highest).": ((1 - MEAN) / STD, (0 - MEAN) / STD),
    }.items():
        if close(low, wrong[0]) and close(high, wrong[1]):
            raise Wrong(message)
    if not (close(low, -MEAN / STD) and close(high, (1 - MEAN) / STD)):
        raise Wrong(
            f"your bounds are {low:.3f} and {high:.3f}. Put the pixels 0 and 1 through (x − mean) / std."
        )
    return f"From {low:.2f} to {high:.2f}: black and white, standardised."


@exercise("lab3.fgsm")
def fgsm(student: Any) -> str:
    model, images, labels = _subject()
    start = (images - MEAN) / STD
    answer = tensor(call(student, model.network, start, labels, eps=EPS, mean=MEAN, std=STD), images.shape)
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model.network(leaf), labels, reduction="sum"), leaf)
    sign, low, high = gradient.sign(), -MEAN / STD, (1 - MEAN) / STD
    right = (start + EPS / STD * sign).clamp(low, high)
    pixels = answer * STD + MEAN
    refuse(
        answer,
        {
            f"your step is ε in standardised units. In pixels it is {EPS * STD:.4f}, and ε is {EPS}: the attack looks "
            "weak. Divide by std.": (start + EPS * sign).clamp(low, high),
            "everything below the mean became the mean, because you clamped standardised values to [0, 1]. That "
            "destroys "
            "half of the image and is no attack: clamp to the bounds of exercise 2.": (
                start + EPS / STD * sign
            ).clamp(0, 1),
            "two bugs at once: ε is in standardised units, and you clamp standardised values to [0, 1].": (
                start + EPS * sign
            ).clamp(0, 1),
            f"back in pixels your images run from {float(pixels.min()):.2f} to {float(pixels.max()):.2f}: clamp to the "
            "bounds of exercise 2.": start + EPS / STD * sign,
            "you walked down: the loss falls. Add the step.": (start - EPS / STD * sign).clamp(low, high),
            f"your step is ε · std = {EPS * STD:.4f} in standardised units, a twentieth of what it should be: "
            f"divide by "
            "std.": (start + EPS * STD * sign).clamp(low, high),
            "these are pixels. Return standardised images, which is what the network takes.": right * STD
            + MEAN,
        },
    )
    if not close(answer, right):
        far = float((pixels - images).abs().max())
        raise Wrong(
            f"in pixels the largest change is {far:.4f} (ε is {EPS}). Step by ε / std along the sign, then "
            f"clamp to the "
            "standardised bounds."
        )
    return f"In pixels: no change above {EPS}, and everything in [0, 1]."


def _attacked(verdict: str, eps: float) -> tuple[Tensor, Tensor]:
    """Images and attacked images in pixels, made with one bug."""
    model, images, labels = _subject()
    if verdict == "no_clamp":
        leaf = images.clone().requires_grad_()
        loss = F.cross_entropy(model(leaf), labels, reduction="sum")
        return images, images + eps * torch.autograd.grad(loss, leaf)[0].sign()
    switches = Switches() if verdict == "sound" else Switches(**{verdict: True})
    found = craft(model, images, labels, attack="bim", eps=eps, switches=switches)
    return images, found * STD + MEAN


@exercise("lab3.diagnose")
def diagnose(student: Any) -> str:
    told = {}
    for eps in (0.03, 0.1):
        for verdict in VERDICTS:
            images, attacked = _attacked(verdict, eps)
            answer = call(student, images, attacked, eps=eps, mean=MEAN, std=STD)
            if answer not in VERDICTS:
                raise Wrong(f"you return {answer!r}; the verdicts are {', '.join(VERDICTS)}.")
            told[verdict, eps] = answer
    if len(set(told.values())) == 1:
        raise Wrong(f"you always say '{answer}'. Look at the pixels: how far they moved, and where they lie.")
    for (verdict, eps), answer in told.items():
        if answer != verdict:
            images, attacked = _attacked(verdict, eps)
            if answer == "no_clamp" and float(attacked.min()) > -1e-6 and float(attacked.max()) < 1 + 1e-6:
                raise Wrong(
                    "you call a rounding error of 1e-16 a pixel outside [0, 1]. Allow for rounding: 1e-6."
                )
            seen = (
                f"moved by up to {float((attacked - images).abs().max()):.4f} with ε = {eps}, and lie between "
                f"{float(attacked.min()):.3f} and {float(attacked.max()):.3f} (mean {MEAN:.3f}, std {STD:.3f})"
            )
            raise Wrong(f"you say '{answer}' for images made with '{verdict}': their pixels {seen}.")
    return f"{len(told)} of {len(told)} attacked batches, without a look at the code that made them."


@exercise("lab3.grey_levels")
def grey_levels(answer: Any) -> str:
    given, eps = number(answer, "your answer"), PROTOCOL["attacks"]["pgd"]["eps"]
    roct = PROTOCOL["datasets"]["roct"]["std"]
    for message, wrong in {
        "this is ε in pixels, the right reading. Asked is the wrong one, ε in standardised units: multiply by std.": 255
        * eps,
        "you used the standard deviation of ROCT.": 255 * eps * roct,
        "you divided by std. A step in standardised units is *smaller* in pixels: multiply.": 255 * eps / STD,
        "this is in [0, 1]. Grey levels run from 0 to 255.": eps * STD,
    }.items():
        if close(given, wrong, 0.01):
            raise Wrong(message)
    if not close(given, 255 * eps * STD, 0.01):
        raise Wrong(
            f"you say {given:.3f}. Go from standardised units to pixels to grey levels: ε · std · 255."
        )
    return f"{255 * eps * STD:.2f} grey levels instead of {255 * eps:.2f}: {1 / STD:.1f} times less."
