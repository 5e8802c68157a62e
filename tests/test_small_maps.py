"""Convolutions with few output positions as a matrix product: values and gradients, where it applies, where not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from meddef.attacks.surrogate import Surrogate
from meddef.small_maps import FEW, SmallMaps, applies, convolve

SHAPES = [  # C, D, height, width, kernel, stride, padding
    (3, 5, 2, 2, (3, 3), (1, 1), (1, 1)),
    (4, 6, 4, 4, (3, 3), (2, 2), (1, 1)),
    (4, 6, 4, 4, (1, 1), (2, 2), (0, 0)),
    (2, 3, 1, 1, (3, 3), (1, 1), (1, 1)),
    (2, 3, 5, 3, (2, 3), (3, 2), (0, 1)),
    (2, 3, 4, 1, (3, 1), (1, 1), (1, 0)),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_all_gradients_are_those_of_the_convolution(
    shape: tuple[int, int, int, int, tuple[int, int], tuple[int, int], tuple[int, int]],
    layout: torch.memory_format,
) -> None:
    channels, count, height, width, kernel, stride, padding = shape
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(7, channels, height, width, **draw).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(count, channels, *kernel, **draw).contiguous(memory_format=layout).requires_grad_()
    bias = torch.randn(count, **draw).requires_grad_()
    assert applies(x, weight, stride, padding, (1, 1), 1)
    expected = F.conv2d(x, weight, bias, stride, padding)
    found = convolve(x, weight, bias, stride, padding)
    up = torch.randn(expected.shape, **draw)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, (x, weight, bias), up),
        torch.autograd.grad(expected, (x, weight, bias), up),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_it_applies_to_few_positions_of_ordinary_convolutions_only() -> None:
    x, weight = torch.zeros(1, 4, 2, 2), torch.zeros(4, 4, 3, 3)
    one = (1, 1)
    assert FEW == 4
    assert applies(x, weight, one, one, one, 1)
    assert not applies(torch.zeros(1, 4, 3, 2), weight, one, one, one, 1)
    assert not applies(x, weight, one, one, (2, 2), 1)
    assert not applies(x, torch.zeros(4, 2, 3, 3), one, one, one, 2)
    assert not applies(x, weight, one, (0, 0), one, 1)  # no output at all: torch says so
    assert not applies(torch.zeros(4, 2, 2), weight, one, one, one, 1)


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 3, padding="same"),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        )  # fmt: skip
        self.head = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x).flatten(1))
        return logits


def test_a_training_step_has_the_same_gradients_within_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr("meddef.small_maps.convolve", lambda *given: used.append(1) or convolve(*given))
    model, x = Stage(), torch.rand(6, 3, 4, 4)

    def gradients() -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(x).float().square().sum()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    expected = gradients()
    assert not used
    with SmallMaps():
        found = gradients()
    assert len(used) == 3  # of five: the grouped one and the one padded by name are left alone
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * float(other.abs().max()))


def test_the_copy_of_an_attack_in_bfloat16_uses_it_and_that_in_float32_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []
    monkeypatch.setattr("meddef.small_maps.convolve", lambda *given: used.append(1) or convolve(*given))
    model, x = Stage().eval(), torch.rand(6, 3, 4, 4)
    exact = Surrogate(model, x, half=False)(x)
    assert not used
    rough = Surrogate(model, x, half=True)(x)
    assert used
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.02)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    x, weight = torch.rand(1, 2, 2, 2, requires_grad=True), torch.rand(2, 2, 3, 3)
    out = convolve(x, weight, None, (1, 1), (1, 1)).square().sum()
    (first,) = torch.autograd.grad(out, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
