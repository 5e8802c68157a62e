"""The stand-in for a GPU: what it computes, that its memory stays where it is, and what it refuses."""

from typing import Any

import pytest
import torch
from attack_models import cnn, images
from taped import taped
from torch import Tensor, nn

from meddef.attacks.balls import LinfBall
from meddef.attacks.capture import Captured, holding
from meddef.attacks.loop import ActiveBatch, climb
from meddef.attacks.losses import Objective
from meddef.attacks.shadow import Shadow, shadow_of
from meddef.errors import InputError
from meddef.models import VARIANTS, build_model


def moved(variant: str) -> nn.Module:
    """A model whose BatchNorms have statistics of their own."""
    torch.manual_seed(0)
    model = build_model(variant, 2, mean=0.4, std=0.2).train()
    with torch.no_grad():
        model(torch.rand(6, 3, 32, 32))
    return model.eval()


def gap(one: nn.Module, other: nn.Module) -> float:
    with torch.no_grad():
        x = images(3, size=32)
        return (one(x) - other(x)).abs().max().item()


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_the_model_and_follows_it_in_the_same_memory(variant: str, fold: bool) -> None:
    model = moved(variant)
    shadow = Shadow(model, fold=fold, dtype=None)
    assert gap(model, shadow) < 1e-5
    norms = [module for module in shadow.modules() if isinstance(module, nn.BatchNorm2d)]
    assert bool(norms) is not fold
    places = [tensor.data_ptr() for tensor in (*shadow.parameters(), *shadow.buffers())]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
        model.train()(torch.rand(6, 3, 32, 32))
    model.eval()
    assert gap(model, shadow) > 1e-3
    shadow.refresh()
    assert gap(model, shadow) < 1e-5
    assert places == [tensor.data_ptr() for tensor in (*shadow.parameters(), *shadow.buffers())]
    assert not any(tensor.data_ptr() in places for tensor in model.parameters())


@pytest.mark.parametrize("fold", [False, True])
def test_in_bfloat16_the_whole_network_is(fold: bool) -> None:
    model = moved("full")
    shadow = Shadow(model, fold=fold, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in shadow.parameters()} == {torch.bfloat16}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in shadow.parameters() if p.ndim == 4)
    seen: list[Tensor] = []
    shadow.network.backbone.conv1.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    x = images(3, size=32).requires_grad_()
    logits = shadow(x)
    assert logits.dtype == torch.float32
    assert seen[0].dtype == torch.bfloat16
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert gradient.dtype == torch.float32
    assert 0 < gap(model, shadow) < 0.02


def test_pixels_are_standardised_before_they_are_rounded() -> None:
    """Two bright pixels that are 1/512 apart are one in bfloat16, but not once the mean is taken off."""
    model = moved("resnet18")
    shadow = Shadow(model, fold=False, dtype=torch.bfloat16)
    seen: list[Tensor] = []
    shadow.network.conv1.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    pixels = torch.tensor([0.5005, 0.5005 + 1 / 1024])
    assert len(pixels.bfloat16().unique()) == 1
    shadow(pixels.repeat(512).view(1, 1, 32, 32).expand(1, 3, -1, -1))
    assert len(seen[0].unique()) == 2


def test_it_is_kept_while_a_climbing_lasts_and_refreshed_at_every_call() -> None:
    model, x = cnn().eval(), images()
    with holding(Captured(lambda step: step)):
        once = shadow_of(model, x, fold=True, dtype=None)
        with torch.no_grad():
            model[0].weight.mul_(1.5)
        again = shadow_of(model, x, fold=True, dtype=None)
        assert once is again
        assert again is not None
        torch.testing.assert_close(again(x), model(x))
        assert shadow_of(model, x, fold=False, dtype=None) is not once
    assert shadow_of(model, x, fold=True, dtype=None) is not once


def test_a_network_that_needs_float32_runs_under_autocast() -> None:
    class Fixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * torch.ones(8))

    model = Fixed(*cnn().eval())
    shadow = shadow_of(model, images(), fold=False, dtype=torch.bfloat16)
    assert shadow is not None
    assert not shadow.whole
    assert {tensor.dtype for tensor in shadow.parameters()} == {torch.float32}
    logits = shadow(images())
    assert logits.dtype == torch.float32
    assert 0 < (logits - model(images())).abs().max() < 0.05
    assert shadow_of(cnn().eval(), images(), fold=False, dtype=torch.bfloat16).whole  # type: ignore[union-attr]


def test_what_cannot_be_copied_has_none() -> None:
    model = cnn().eval()
    model.held = torch.ones(1, requires_grad=True) * 2
    assert shadow_of(model, images(), fold=False, dtype=torch.bfloat16) is None


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_what_cannot_be_folded_is_refused(dtype: Any) -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] if x.sum() > 0 else x.flatten(1)[:, 4:8]

    with pytest.raises(InputError, match="fast=True cannot trace this model"):
        shadow_of(Branches(), images(), fold=True, dtype=dtype)


def test_a_convolution_that_is_used_twice_keeps_its_batchnorm() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            nn.init.uniform_(self.norm.weight, 0.5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.convolution(self.norm(self.convolution(x)))).flatten(1)[:, :4]

    model = Twice().eval()
    shadow = shadow_of(model, images(), fold=True, dtype=None)
    assert shadow is not None
    assert shadow.refresh() is None
    torch.testing.assert_close(shadow(images()), model(images()))


def test_a_taped_step_follows_a_model_in_training() -> None:
    """What a recording needs: training changes the model, ``refresh`` the stand-in, and the tape stays."""
    model = moved("resnet18")
    x, labels = images(4, size=32), torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    captured = Captured(taped)
    settings: dict[str, Any] = {"stop": "never", "report": lambda step: None, "trace": None}
    with holding(captured):
        for _ in range(3):
            shadow = shadow_of(model, x, fold=True, dtype=None)
            assert shadow is not None
            ball, size = LinfBall(x, torch.full((4, 1, 1, 1), 0.03).double()), torch.full((4, 1, 1, 1), 0.01)
            run = ActiveBatch(model, shadow, Objective(labels), ball, size, torch.arange(4), 4)
            assert torch.equal(captured(run, x, 5, **settings), climb(run, x, 5, **settings))
            loss = nn.functional.cross_entropy(model.train()(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.eval()
    assert len(captured.steps) == 1
