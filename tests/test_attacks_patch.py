"""The patch: where it lies, how large it is, what it leaves alone, and that it is an attack."""

from functools import partial
from typing import Any

import pytest
import torch
from attack_models import Linear, answers, cnn, images, labels_of, stripes, trained
from torch import nn

from meddef.attacks import patch
from meddef.attacks.patch import side_of
from meddef.errors import InputError
from meddef.evaluation import evaluate


@pytest.mark.parametrize(
    ("share", "height", "width", "side"),
    [(0.02, 224, 224, 31), (0.25, 8, 8, 4), (1.0, 8, 8, 8), (1.0, 5, 9, 5), (0.02, 8, 8, 1), (0.01, 8, 8, 0)],
)  # fmt: skip
def test_the_side_is_that_of_the_largest_square(share: float, height: int, width: int, side: int) -> None:
    assert side_of(share, height, width) == side


@pytest.mark.parametrize("place", ["random", "centre", "corner"])
def test_all_but_a_square_stays_bit_for_bit(place: str) -> None:
    model, x = cnn(), images(6, size=12)
    found = patch(model, x, labels_of(model, x), share=0.12, place=place, steps=3)
    corners = []
    for one, clean in zip(found, x, strict=True):
        rows, columns = (one != clean).any(0).nonzero(as_tuple=True)
        assert int(rows.max() - rows.min()) < 4
        assert int(columns.max() - columns.min()) < 4
        corners.append((int(rows.min()), int(columns.min())))
    expected = {"centre": {(4, 4)}, "corner": {(0, 0)}}
    assert set(corners) == expected.get(place, set(corners))
    assert place != "random" or len(set(corners)) > 2


def test_by_hand_on_a_linear_model() -> None:
    """The square becomes black where the weight is positive, whatever stood there."""
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, -1.0]])
    x = torch.full((1, 1, 2, 2), 0.9)
    x[0, 0, 0, 1] = 0.1
    found = patch(Linear(50 * weight), x, torch.tensor([0]), share=0.25, place="corner", steps=25)
    assert found.flatten().tolist()[1:] == x.flatten().tolist()[1:]
    assert found.flatten().tolist()[0] == 0


def test_a_larger_patch_breaks_more_and_a_second_place_helps() -> None:
    model, (x, labels) = trained(4), stripes(48, 4, 28, seed=999)
    rates = [
        evaluate(model, [(x, labels)], partial(patch, steps=20, **changes)).robust_accuracy.value
        for changes in ({"share": 0.01}, {"share": 0.05}, {"share": 0.25}, {"share": 0.05, "restarts": 4})
    ]
    assert rates[0] > rates[1] > rates[2]
    assert rates[3] < rates[1]


def test_targets() -> None:
    model, (x, labels) = trained(4), stripes(12, 4, 28, seed=999)
    aims = (labels + 1) % 4
    found = patch(model, x, aims, share=0.4, steps=30, targeted=True)
    assert (answers(model, found) == aims).float().mean() > 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 1.5}, "share must be a number from 0 to 1, got 1.5"),
        ({"share": 0.001}, "a share of 0.001 of 8 x 8 pixels is less than a pixel: give 0.016 or more"),
        ({"place": "left"}, "place must be one of random, centre, corner"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"step_size": 0}, "step_size must be a number from 1e-06 to 1"),
        ({"images": torch.rand(2, 8)}, r"a patch needs images \(N, C, H, W\)"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"images": images(2), **changes}
    model = cnn() if given["images"].ndim == 4 else nn.Linear(8, 2)
    with pytest.raises(InputError, match=message):
        patch(model, given.pop("images"), torch.tensor([0, 1]), **given)
