"""Refusals that no other test reaches: each names the thing and the remedy."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from meddef.attacks.apgd import apgd
from meddef.attacks.jsma import jsma
from meddef.attacks.square import square
from meddef.cli import main
from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.models import build_model
from meddef.saliency import grad_cam, measure_saliency
from meddef.settings import SaliencySettings


def linear(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).eval()


IMAGES, FLAT, LABELS = torch.full((2, 3, 2, 2), 0.5), torch.full((2, 12), 0.5), torch.tensor([0, 1])


def test_attacks_refuse_what_they_are_not_defined_for() -> None:
    with pytest.raises(InputError, match="needs at least 4 classes; use loss='margin'"):
        apgd(linear(3), IMAGES, LABELS, eps=0.1, loss="dlr", targets=2)
    with pytest.raises(InputError, match="unit='pixel' needs images"):
        jsma(linear(3), FLAT, LABELS, theta=1.0, gamma=0.5, unit="pixel")
    with pytest.raises(InputError, match="the square attack needs images"):
        square(linear(3), FLAT, LABELS, eps=0.1)
    with pytest.raises(InputError, match="share must be in"):
        square(linear(3), IMAGES, LABELS, eps=0.1, share=0.0)


def test_saliency_refuses_unknown_layers_and_images_without_lesion() -> None:
    model, grey = build_model("resnet18", 2).eval(), np.zeros((2, 32, 32), dtype=np.uint8)
    images = ImageSet(grey, np.array([0, 1]), ("a", "b"), ("a", "b"))
    with pytest.raises(InputError, match="no layer 'layer9'"):
        grad_cam(model, torch.rand(2, 3, 32, 32), layer="layer9")
    with pytest.raises(InputError, match="no image shows a lesion"):
        measure_saliency(model, images, np.zeros((2, 32, 32), dtype=bool), SaliencySettings())


def test_a_notebook_parameter_without_a_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["meddef", "book", "--parameter", "eps"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "write name=value" in capsys.readouterr().err
