"""The dense form of a strided convolution's input gradient against autograd's, and when it is used."""

import pytest
import torch
from attack_models import images, labels_of
from torch import nn

from meddef.attacks import fgsm
from meddef.attacks.fast import gradient_source
from meddef.attacks.first_layer import FirstLayer, pays


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("size", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), (7, 2), (3, 3), (7, 3), (4, 4), (7, 4)]
)
@pytest.mark.parametrize("shape", [(16, 18), (17, 16), (19, 23)])
def test_output_and_gradient_are_those_of_the_convolution(
    size: int, stride: int, padding: int, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, size, stride=stride, padding=padding).double()
    assert pays(convolution)
    x = torch.rand(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    expected, got = convolution(x), FirstLayer(convolution, convolution)(x)
    assert torch.equal(got, expected)
    upstream = torch.rand_like(expected)
    (theirs,) = torch.autograd.grad(expected, x, upstream)
    (ours,) = torch.autograd.grad(got, x, upstream)
    torch.testing.assert_close(ours, theirs)


def test_it_is_made_on_the_device_of_its_weights() -> None:
    """The "meta" device simulates a GPU: mixing it with the CPU is refused in the same way."""
    convolution = nn.Conv2d(3, 8, 7, stride=2, padding=3, device="meta")
    layer = FirstLayer(convolution, convolution)
    x = torch.empty(2, 3, 32, 32, device="meta", requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert (layer.kernel.device.type, gradient.device.type, gradient.shape) == ("meta", "meta", x.shape)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(64, 8, 3, stride=2),
        nn.Conv2d(3, 8, 3, stride=2, dilation=2),
        nn.Conv2d(3, 9, 3, stride=2, groups=3),
        nn.Conv2d(3, 8, (3, 5), stride=2),
        nn.Conv2d(3, 8, 3, stride=(2, 1)),
        nn.Conv2d(3, 8, 1, stride=2),
        nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect"),
    ],
)
def test_others_are_left_alone(convolution: nn.Conv2d) -> None:
    assert not pays(convolution)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_fast_copy_has_it_and_the_model_does_not(precision: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)
    ).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = images(4)
    source = gradient_source(model, x, fast=True, precision="float32")
    assert any(isinstance(module, FirstLayer) for module in source.modules())  # type: ignore[union-attr]
    labels = labels_of(model, x)
    adv, reference = (
        fgsm(model, x, labels, eps=0.05, **s) for s in ({"fast": True, "precision": precision}, {})
    )
    assert (adv != reference).float().mean() < (1e-3 if precision == "float32" else 0.05)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
