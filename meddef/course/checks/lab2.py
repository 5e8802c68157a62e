"""Lab 2: from FGSM to PGD."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse, rows, tensor
from meddef.paper import epsilon_table

COUNT = 5
EPS, STEP, STEPS = 0.05, 0.02, 6
APART = 90.0  # points of accuracy


def _subject() -> tuple[kit.Net, Tensor, Tensor]:
    data = kit.phantoms()
    images = (data.test_images[:COUNT] * 1.3 - 0.15).clamp(0, 1)
    return kit.network(seed=7), images, data.test_labels[:COUNT]


def _noise(images: Tensor) -> Tensor:
    return 2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype) - 1


def _project(x: Tensor, images: Tensor) -> Tensor:
    return x.clamp(images - EPS, images + EPS).clamp(0, 1)


def _gradient(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]


@exercise("lab2.project")
def project(student: Any) -> str:
    _, images, _ = _subject()
    x = images + 3 * EPS * _noise(images)
    answer = tensor(call(student, x, images, EPS), images.shape)
    delta = x - images
    norms = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    refuse(
        answer,
        {
            "you only kept the pixels in [0, 1]. The result must also be within ε of the images.": x.clamp(
                0, 1
            ),
            "the result is within ε of the images, but some pixels have left [0, 1]: clamp to that as well.": x.clamp(
                images - EPS, images + EPS
            ),
            "you shrank every perturbation to length ε, the projection for the L2 norm. In L∞ each pixel is on "
            "its own: "
            "only those farther than ε are moved.": (images + delta * EPS / norms).clamp(0, 1),
            "you scaled each perturbation until its largest pixel fits. That also moves pixels that were inside: clamp "
            "each one by itself.": (
                images + delta * EPS / delta.abs().flatten(1).amax(1).view(-1, 1, 1, 1)
            ).clamp(0, 1),
            "you returned the images: clamp the perturbation to ±ε, not to 0.": images,
            "this is only the perturbation. Add the images to it.": delta.clamp(-EPS, EPS),
        },
    )
    if not close(answer, _project(x, images)):
        far = float((answer - images).abs().max())
        if far > EPS + 1e-9:
            raise Wrong(
                f"a pixel is still {far:.3f} from its image, and ε is {EPS}. Clamp to [images − ε, images + ε]."
            )
        raise Wrong(
            "pixels that were inside the ball and in [0, 1] have moved. A projection leaves them alone."
        )
    inside = tensor(call(student, images, images, EPS), images.shape)
    if not close(inside, images):
        raise Wrong("an image is inside its own ball: its projection must be the image.")
    return "Nearest point of the ball that is still an image; what was inside stays."


@exercise("lab2.pgd")
def pgd(student: Any) -> str:
    model, images, labels = _subject()
    start = _project(images + EPS * _noise(images), images)
    watched = kit.Watched(model)
    answer = call(student, watched, images, labels, eps=EPS, step_size=STEP, steps=STEPS, start=start)
    answer = tensor(answer, images.shape)
    iterates = [x for x in watched.seen if x.shape == images.shape]
    if not iterates:
        raise Wrong(
            f"the model was never asked about a batch of {COUNT} images. Take the gradient of the whole batch."
        )
    if not close(iterates[0], start):
        at = (
            "at the images"
            if close(iterates[0], images)
            else "elsewhere (its first question was another one)"
        )
        raise Wrong(f"the attack must begin at `start`, and yours begins {at}.")
    _follow([*iterates, answer], images)
    if len(iterates) < STEPS:
        raise Wrong(f"you took {len(iterates)} gradient(s) where steps = {STEPS}: one per step.")
    if all(close(x, start) for x in iterates):
        raise Wrong(
            "every gradient was taken at the starting point. After each step, take it at the new iterate."
        )
    right = [start]
    for _ in range(STEPS):
        right.append(_project(right[-1] + STEP * _gradient(model, right[-1], labels).sign(), images))
    _first_step(iterates[1], start, _gradient(model, start, labels), images)
    if close(answer, right[-2]):
        raise Wrong("you return the iterate before the last step: return what the last step gives.")
    if close(answer, start):
        raise Wrong("you return the starting point. Return the last iterate.")
    if not close(answer, right[-1]):
        step = next(
            (k for k, (a, b) in enumerate(zip(iterates, right, strict=False)) if not close(a, b)), STEPS
        )
        raise Wrong(
            f"your iterates are right up to step {step - 1} and differ from step {step} on. Step, project, and "
            f"use only "
            "the new iterate from there."
        )
    return f"All {STEPS} iterates are in the ball and in [0, 1], and each step follows its own gradient."


def _follow(iterates: list[Tensor], images: Tensor) -> None:
    """Refuse the first iterate that is no image within EPS."""
    for step, x in enumerate(iterates):
        out = float((x - images).abs().max()) - EPS
        if out > 1e-9:
            raise Wrong(
                f"your iterate left the ε-ball at step {step} by {out:.3f}: project after the step, around the "
                f"images (not "
                "around the last iterate)."
            )
        if float(x.min()) < -1e-9 or float(x.max()) > 1 + 1e-9:
            raise Wrong(
                f"at step {step} pixels are from {float(x.min()):.3f} to {float(x.max()):.3f}: clamp to [0, 1] as well."
            )


def _first_step(first: Tensor, start: Tensor, gradient: Tensor, images: Tensor) -> None:
    refuse(
        first,
        {
            "your first step goes down: the loss must rise, so add the step.": _project(
                start - STEP * gradient.sign(), images
            ),
            "you step along the gradient itself, which is tiny here. In L∞ take its sign.": _project(
                start + STEP * gradient, images
            ),
            f"your step has length ε = {EPS}; it should have length step_size = {STEP}.": _project(
                start + EPS * gradient.sign(), images
            ),
        },
    )


@exercise("lab2.steps_needed")
def steps_needed(student: Any) -> str:
    cases = {(0.05, 0.01): 10, (0.035, 0.01): 7, (0.05, 0.02): 5, (0.03, 0.007): 9, (0.1, 0.25): 1}
    for (eps, step), right in cases.items():
        answer = number(call(student, eps, step))
        here = f"for ε = {eps} and step {step} you say {answer:g}"
        if answer == right:
            continue
        if answer == -(-eps // step) or close(answer, eps / step):
            raise Wrong(
                f"{here}: that reaches the edge from the middle. A random start can lie at the far edge, 2ε away."
            )
        if answer == right - 1:
            raise Wrong(
                f"{here}: that ends just short of the edge. A part of a step needs a whole one: round up."
            )
        if close(answer, 2 * eps / step):
            raise Wrong(f"{here}: steps come in whole numbers. Round up.")
        if answer == right + 1:
            raise Wrong(
                f"{here}, one too many: 2 · {eps} / {step} is a whole number, but {2 * eps / step!r} for the "
                f"computer. Take "
                "off a hair (1e-9) before rounding up."
            )
        raise Wrong(f"{here}. It takes {right}: from one edge of the ball to the other, 2ε.")
    return "2ε / step, rounded up: from one edge of the ball to the other."


@exercise("lab2.worst_case")
def worst_case(student: Any) -> str:
    """Logits are the first pixel's, so that losses are known."""
    labels = torch.zeros(4, dtype=torch.int64)
    values = torch.tensor(
        [  # margin of the wrong class, restart by restart; above 0 is fooled
            [-1.0, 2.0, -3.0, 0.5],
            [-2.0, 2.5, 1.0, -0.5],
            [-3.0, -1.0, -2.0, 0.2],
        ],
        dtype=torch.float64,
    )
    candidates = values[..., None, None, None].expand(3, 4, 1, 2, 2) / 10 + 0.5
    model = kit.Margin()
    answer = tensor(call(student, model, labels, candidates), (4, 1, 2, 2))
    loss = torch.stack([F.cross_entropy(model(x), labels, reduction="none") for x in candidates])

    def pick(index: Tensor) -> Tensor:
        return candidates[index, torch.arange(4)]

    refuse(
        answer,
        {
            "you return the last restart, so the others were for nothing.": candidates[-1],
            "you return the first restart, so the others were for nothing.": candidates[0],
            "you return the one restart that is best for the batch. Each image may have its own: compare losses "
            "image by "
            'image (`reduction="none"`).': candidates[loss.sum(1).argmax()],
            "you keep the lowest loss of each image, the restart that failed most. Keep the highest.": pick(
                loss.argmin(0)
            ),
            "you return the mean of the restarts, an image that no restart found.": candidates.mean(0),
        },
    )
    if not close(answer, pick(loss.argmax(0))):
        bad = int((answer - pick(loss.argmax(0))).abs().flatten(1).amax(1).argmax())
        raise Wrong(
            f"image {bad} has losses {', '.join(f'{value:.2f}' for value in loss[:, bad])} and you did not take "
            f"the highest."
        )
    return "Each image keeps its own worst restart."


@exercise("lab2.far_apart")
def far_apart(answer: Any) -> str:
    given = rows(answer, 3)
    table = epsilon_table().pivot(index=["dataset", "variant", "eps"], columns="attack", values="accuracy")
    difference = table["bim"] - table["pgd"]
    right = set(difference.index[difference.abs() > APART])
    if given == right:
        return f"{len(right)} of {len(table)} cells, all of them with BIM far below PGD."
    if not given:
        raise Wrong(
            "your list is empty. BIM is the lower one here: take the absolute difference. Accuracies are in percent."
        )
    if given == set(table.index):
        raise Wrong(
            f"these are all cells. A difference of {APART:g} points is not a difference of {APART:g} %."
        )
    extra, missing = given - right, right - given
    if extra and not all(row in table.index for row in extra):
        raise Wrong(
            f"{sorted(extra, key=str)[0]} is no cell of the tables. Write (dataset, variant, eps) as they stand "
            f"in them."
        )
    if extra:
        row = sorted(extra)[0]
        raise Wrong(f"{row} is in your list, where the two differ by {abs(difference[row]):.2f} points only.")
    row = sorted(missing)[0]
    raise Wrong(
        f"{len(missing)} cell(s) are missing, such as {row} with {abs(difference[row]):.2f} points. Look at "
        f"both datasets, "
        "and at differences of either sign."
    )
