"""The least ε of each image against a model of which it is known."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meddef.attacks import fgsm
from meddef.errors import InputError
from meddef.evaluation import evaluate, minimal_eps

GRID = [0.1, 0.02, 0.05]
LEVELS = torch.tensor([0.3, 0.46, 0.485, 0.505, 0.59, 0.51, 0.7])
LABELS = torch.tensor([0, 0, 0, 1, 1, 0, 1])
LEAST = [math.inf, 0.05, 0.02, 0.02, 0.1, 0.0, math.inf]  # by hand: |level - 0.5| rounded up to the grid


class ByBrightness(nn.Module):
    """Class 1 where the mean pixel is above one half: an image falls at ε = |mean - 0.5|."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.mean((1, 2, 3)) - 0.5
        return torch.stack([-z, z], 1)


def loader(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    images = LEVELS[:, None, None, None].expand(-1, 1, 4, 4).clone()
    return list(zip(images.split(list(sizes)), LABELS.split(list(sizes)), strict=True))


def test_it_is_the_distance_to_the_boundary_rounded_up() -> None:
    asked: list[tuple[float, int]] = []

    def attack(eps: float):  # type: ignore[no-untyped-def]
        def run(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            asked.append((eps, len(images)))
            return fgsm(model, images, labels, eps=eps)

        return run

    found = minimal_eps(ByBrightness(), loader(7), attack, GRID)
    assert found.least.tolist() == LEAST
    assert asked == [(0.02, 6), (0.05, 4), (0.1, 3)]  # nothing is attacked that has fallen
    assert found.fallen == {0.0: 1, 0.02: 2, 0.05: 1, 0.1: 1, math.inf: 2}
    assert [found.robust_accuracy(eps).hits for eps in (0, 0.02, 0.05, 0.1)] == [6, 4, 3, 2]
    assert found.median == 0.05
    two = minimal_eps(ByBrightness(), loader(2, 5), attack, GRID)
    np.testing.assert_array_equal(two.least, found.least)
    single = evaluate(ByBrightness(), loader(3, 4), partial(fgsm, eps=0.05))
    assert single.robust_accuracy == found.robust_accuracy(0.05)


def test_what_fell_once_stays_fallen() -> None:
    """An attack that works at its smallest ε alone."""

    def attack(eps: float):  # type: ignore[no-untyped-def]
        return lambda model, images, labels: fgsm(model, images, labels, eps=eps if eps < 0.03 else 0.0)

    found = minimal_eps(ByBrightness(), loader(7), attack, GRID)
    assert [found.robust_accuracy(eps).hits for eps in (0.02, 0.05, 0.1)] == [4, 4, 4]


@pytest.mark.parametrize("grid", [[], [0.0, 0.1], [math.inf], [-0.1]])
def test_a_grid_that_is_none_is_refused(grid: list[float]) -> None:
    with pytest.raises(InputError, match="the grid must hold"):
        minimal_eps(ByBrightness(), loader(7), lambda eps: partial(fgsm, eps=eps), grid)
