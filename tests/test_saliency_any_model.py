"""Grad-CAM on models that are not this package's: any layer, any class, frozen or not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meddef.errors import InputError
from meddef.models import build_model
from meddef.saliency import grad_cam
from meddef.saliency.maps import default_layer

pytest.importorskip("pytorch_grad_cam", reason="the book extra is not installed")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3)
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture
def model() -> Small:
    torch.manual_seed(0)
    return Small().eval()


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 16, 12, generator=torch.Generator().manual_seed(1))


def by_hand(model: Small, x: Tensor, classes: list[int]) -> np.ndarray:
    """Of the mean over positions, the gradient at every position is the head's weight over the number of positions."""
    with torch.no_grad():
        maps = model.features(x)
    weights = model.head.weight.detach()[classes]  # (N, 6)
    heat = torch.relu((weights[:, :, None, None] * maps).sum(1))
    return heat.numpy()


def test_a_chosen_class_by_hand(model: Small) -> None:
    """The position of the maximum: grad-cam scales and upsamples what is computed here."""
    x, classes = images(), [2, 0, 1]
    found = grad_cam(model, x, layer="features.3", targets=torch.tensor(classes))
    assert found.shape == (3, 16, 12)
    assert found.dtype == np.float32
    for heat, mine in zip(found, by_hand(model, x, classes), strict=True):
        if mine.max() > 0:
            row, column = np.unravel_index(mine.argmax(), mine.shape)
            top, left = np.unravel_index(heat.argmax(), heat.shape)
            assert abs(top / 16 - (row + 0.5) / mine.shape[0]) < 0.15
            assert abs(left / 12 - (column + 0.5) / mine.shape[1]) < 0.15


def test_the_most_likely_class_is_the_default(model: Small) -> None:
    x = images()
    likely = model(x).argmax(1)
    assert np.array_equal(
        grad_cam(model, x, layer="features.3"), grad_cam(model, x, layer="features.3", targets=likely)
    )
    other = grad_cam(model, x, layer="features.3", targets=(likely + 1) % 3)
    assert not np.allclose(other, grad_cam(model, x, layer="features.3"))


def freeze(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad = False


def test_frozen_head_only_and_no_grad_have_the_same_maps(model: Small) -> None:
    x = images()
    plain = grad_cam(model, x, layer="features.3")
    with torch.no_grad():
        assert np.array_equal(grad_cam(model, x, layer="features.3"), plain)
    with torch.inference_mode():
        assert np.array_equal(grad_cam(model, x.clone(), layer="features.3"), plain)
    freeze(model.features)
    assert np.allclose(grad_cam(model, x, layer="features.3"), plain)
    freeze(model)
    assert np.allclose(grad_cam(model, x, layer=model.features[3]), plain)
    assert not any(parameter.requires_grad for parameter in model.parameters())


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 4, 4, stride=4)
        self.mix = nn.Linear(4, 4)
        self.unused = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.embed(x).flatten(2).transpose(1, 2)).mean(1)


class Twice(Small):
    """The last convolution with weights of its own runs once; ``shared`` runs twice, as a ReLU of many networks."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.shared(self.shared(self.features(x)).relu()).relu().mean((2, 3)))


class Broken(Small):
    def forward(self, x: Tensor) -> Tensor:
        raise IndexError("the model's own")


@pytest.mark.parametrize(
    ("made", "given", "message"),
    [
        (Small, {"layer": "layer3"}, "the model has no layer 'layer3': use features.0, features.3"),
        (Small, {"layer": "features.9"}, "the model has no layer 'features.9': use features.0, features.3"),
        (Small, {"layer": "feature.1"}, "use features.0, features.3; near that: features.1, features.2"),
        (Small, {"layer": nn.ReLU()}, "the layer is not a module of the model"),
        (Small, {"layer": "head"}, r"the layer gives \(1, 3\), and Grad-CAM needs maps"),
        (Tokens, {"layer": "mix"}, r"the layer gives \(1, 12, 4\), and Grad-CAM needs maps"),
        (Tokens, {"layer": "unused"}, "the layer is not run as a module"),
        (Twice, {"layer": "shared"}, "the layer runs 2 times for one image, .*: take the block around it"),
        (
            Small,
            {"layer": "features.3", "targets": torch.tensor([0, 1, 3])},
            "targets must be 3 class indices below 3",
        ),
        (Small, {"layer": "features.3", "targets": torch.tensor([0])}, "targets must be 3 class indices"),
        (lambda: build_model("full", 2), {"layer": "layer9"}, "use layer1, layer2, layer3, layer4"),
    ],
)
def test_refusals(made: Any, given: dict[str, Any], message: str) -> None:
    model, x = made().eval(), images()
    with pytest.raises(InputError, match=message):
        grad_cam(model, x if made in (Small, Tokens, Twice) else torch.rand(1, 3, 64, 64), **given)
    assert not any(module._forward_hooks for module in model.modules())


class Adds(nn.Module):
    """What follows the layer writes into its output, as ``out += identity`` of a torchvision block."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.conv, self.head, self.in_place = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.in_place:
            out += 5 * x.mean(1, keepdim=True)
        else:
            out = out + 5 * x.mean(1, keepdim=True)
        return self.head(out.relu().mean((2, 3)))


def test_what_follows_the_layer_may_write_into_its_output(model: Small) -> None:
    """The map is that of the twin that does not."""
    x = images()
    expected = grad_cam(model, x, layer="features.0", targets=0)
    model.features[1] = nn.ReLU(inplace=True)
    assert np.array_equal(grad_cam(model, x, layer="features.0", targets=0), expected)
    torch.manual_seed(0)
    plain, writing = Adds(in_place=False).eval(), Adds(in_place=True).eval()
    writing.load_state_dict(plain.state_dict())
    maps = [grad_cam(each, x, layer="conv", targets=1) for each in (plain, writing)]
    assert maps[0].max() > 0
    assert np.array_equal(*maps)
    assert not writing.conv._forward_hooks


def test_a_layer_that_runs_twice_is_not_chosen() -> None:
    name, told = default_layer(Twice().eval(), images(1))
    assert name == "features.3"
    assert told == "the last convolution with maps of 6 x 4"


def test_the_models_own_errors_stay_its_own() -> None:
    with pytest.raises(IndexError, match="the model's own"):
        grad_cam(Broken().eval(), images(), layer="features.3")


class InPlace(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5).div_(0.25))


class Twin(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5) / 0.25)


def test_a_model_that_writes_into_its_input_has_its_twin_s_maps() -> None:
    maps = []
    for made in (InPlace, Twin):
        torch.manual_seed(0)
        x = images()
        maps.append(grad_cam(made().eval(), x, layer="features.3"))
        assert torch.equal(x, images())
    assert np.array_equal(*maps)


def test_one_class_for_all_images(model: Small) -> None:
    x = images()
    several = grad_cam(model, x, layer="features.3", targets=torch.tensor([2, 2, 2]))
    assert np.array_equal(grad_cam(model, x, layer="features.3", targets=2), several)
    with pytest.raises(InputError, match="3 class indices below 3, got \\[3, 3, 3\\]"):
        grad_cam(model, x, layer="features.3", targets=3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_cannot_be_explained_is_one_line(model: Small) -> None:
    """Images that are none gave maps of NaN, a scripted model PyTorch's own error."""
    for x, told in (
        (images() * torch.nan, "image 0 holds NaN"),
        (images() * 255, "divide 0-255 images by 255"),
        ((images() * 255).byte(), "must be a floating-point tensor"),
    ):
        with pytest.raises(InputError, match=told):
            grad_cam(model, x, layer="features.3")
    with pytest.raises(InputError, match=r"the model is scripted, .* give it unscripted"):
        grad_cam(torch.jit.script(model), images(), layer="features.3")
