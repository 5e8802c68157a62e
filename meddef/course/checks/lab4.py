"""Lab 4: JSMA and L0."""

from __future__ import annotations

import math
from typing import Any

import torch

from meddef.attacks import jsma as reference
from meddef.course import kit
from meddef.course.answers import Wrong, call, close, exercise, number, refuse, tensor
from meddef.paper import epsilon_table

COUNT = 12
THETA, GAMMA = 0.1, 0.05


@exercise("lab4.l0")
def l0(student: Any) -> str:
    generator = torch.Generator().manual_seed(0)
    before = torch.rand((3, 3, 8, 8), generator=generator, dtype=torch.float64)
    after = before.clone()
    after[0, 0, 1, 1] += 0.3  # one feature
    after[1, :, 2, 3] += 1e-3  # one pixel: three features
    after[1, 1, 5, 5] -= 0.2
    answer = tensor(call(student, before, after), (3,)).double()
    right = torch.tensor([1.0, 4.0, 0.0], dtype=torch.float64)
    refuse(
        answer,
        {
            "you count pixels. The paper's JSMA counts features: each channel of a pixel is one.": torch.tensor(
                [1.0, 2.0, 0.0]
            ),
            "you add up how far features moved (L1). L0 counts them, however small the change.": (
                after - before
            )
            .abs()
            .flatten(1)
            .sum(1),
            "small changes are missing: 0.001 is a change too. Compare with `!=`.": torch.tensor(
                [1.0, 1.0, 0.0]
            ),
            "this is the share of changed features. Return their number.": right / 192,
            "this is one number for the batch in every place. Count image by image.": right.sum().expand(3),
            "changes of opposite sign cancel in your sum, or only rises are counted. Count `!=`.": torch.tensor(
                [1.0, 3.0, 0.0]
            ),
        },
    )
    if not close(answer, right):
        raise Wrong(f"you count {[int(k) for k in answer]}, and {[int(k) for k in right]} features differ.")
    return "Features that differ, image by image, however little."


@exercise("lab4.saliency")
def saliency(student: Any) -> str:
    alpha = torch.tensor([[0.5, -0.4, 0.3, -0.2, 0.6], [0.1, 0.2, 0.3, -0.4, 0.0]], dtype=torch.float64)
    beta = torch.tensor([[-0.2, -0.3, 0.4, 0.5, -0.1], [-0.5, 0.6, -0.2, -0.7, -0.8]], dtype=torch.float64)
    answer = tensor(call(student, alpha, beta), alpha.shape)
    product = -alpha * beta
    helps, spares = alpha > 0, beta < 0
    right = torch.where(helps & spares, product, 0)
    refuse(
        answer,
        {
            "no feature is ruled out. Where a feature lowers the target (α < 0) or raises the others (β > 0), "
            "the map is 0; "
            "a product of two wrong signs looks good.": product,
            "features that lower the target (α < 0) are not ruled out.": torch.where(spares, product, 0),
            "features that raise the other classes (β > 0) are not ruled out.": torch.where(
                helps, product, 0
            ),
            "your map is negative: take |β|, or −β.": -right,
            "your map uses α alone. A feature that also lowers the others much is better: multiply by "
            "|β|.": torch.where(helps & spares, alpha, 0),
            "you kept exactly the features that must be ruled out: check both signs.": torch.where(
                ~helps & ~spares, product, 0
            ),
            "this is α − β where both help. The published map is the product α |β|.": torch.where(
                helps & spares, alpha - beta, 0
            ),
        },
    )
    if not close(answer, right):
        raise Wrong("the map is α · |β| where α > 0 and β < 0, and 0 elsewhere.")
    return "0 where a feature does not help, α |β| where it does."


@exercise("lab4.jsma")
def jsma(student: Any) -> str:
    data, model = kit.phantoms(), kit.trained()
    right = kit.predictions(model, data.test_images) == data.test_labels
    images, labels = data.test_images[right][:COUNT], data.test_labels[right][:COUNT]
    budget = math.floor(GAMMA * images[0].numel())
    answer = tensor(call(student, model, images, labels, theta=THETA, gamma=GAMMA), images.shape)
    if close(answer, images, 1e-12):
        raise Wrong("no feature has changed.")
    if float(answer.max()) > 1 + 1e-9 or float(answer.min()) < -1e-9:
        raise Wrong(
            f"pixels run from {float(answer.min()):.2f} to {float(answer.max()):.2f}: clamp the feature that you moved."
        )
    changed = (answer != images).flatten(1).sum(1)
    if int(changed.max()) > budget:
        raise Wrong(
            f"an image has {int(changed.max())} changed features; γ = {GAMMA} of {images[0].numel()} allows "
            f"{budget}. Round "
            "down, and stop there."
        )
    if bool((answer < images - 1e-9).any()):
        raise Wrong("some features went down. θ is positive: features only rise.")
    best = reference(model, images, labels, theta=THETA, gamma=GAMMA, features=1)
    fooled = kit.predictions(model, answer) != labels
    wanted = kit.predictions(model, best) != labels
    if int(fooled.sum()) < int(wanted.sum()):
        raise Wrong(
            f"your attack fools the model on {int(fooled.sum())} of {COUNT} images, the reference on "
            f"{int(wanted.sum())} with "
            "the same budget. Is the map computed anew after every move, for the right target (the other "
            "class), and may a "
            "feature be chosen again while it is below 1?"
        )
    least = (best != images).flatten(1).sum(1)
    if int(changed[fooled].sum()) > 1.5 * int(least[wanted].sum()):
        raise Wrong(
            f"you fool the model, with {int(changed[fooled].sum())} changed features where "
            f"{int(least[wanted].sum())} are "
            "enough. An image is finished as soon as its answer is wrong: leave it alone from there."
        )
    return (
        f"{int(fooled.sum())} of {COUNT} images fooled, at most {int(changed.max())} of "
        f"{images[0].numel()} features changed."
    )


@exercise("lab4.spread")
def spread(answer: Any) -> str:
    given = number(answer, "your answer")
    table = epsilon_table().query("attack == 'jsma'")
    wide = table.pivot(index=["dataset", "variant"], columns="eps", values="accuracy")
    by_model = wide.max(axis=1) - wide.min(axis=1)
    right = float(by_model.max())
    for message, wrong in {
        "this is the spread over the whole column, of different models. Compare a model with itself.": table[
            "accuracy"
        ].max()
        - table["accuracy"].min(),
        "this is the mean spread. Asked is the largest.": by_model.mean(),
        "this is the smallest spread. Asked is the largest.": by_model.min(),
        "this is the largest on chest X-rays. Look at both datasets.": by_model["chest_xray"].max(),
        "this is the spread of models at one ε. Take one model, and vary ε.": float(
            table.groupby(["dataset", "eps"])["accuracy"].agg(lambda a: a.max() - a.min()).max()
        ),
    }.items():
        if close(given, wrong, 1e-3):
            raise Wrong(message)
    if not close(given, right, 1e-3):
        raise Wrong(
            f"you say {given:.2f}. For each (dataset, variant): highest minus lowest JSMA accuracy over the three ε."
        )
    return f"{right:.2f} points, for an attack whose protocol has no ε."
