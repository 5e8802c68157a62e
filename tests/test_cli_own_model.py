"""A user's own model from training to picture: ``meddef train --model``, ``meddef saliency``, and what they refuse."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from safetensors.torch import load_file
from test_howto import blocks
from torch import nn
from typer.testing import CliRunner

from meddef.cli import app
from meddef.errors import InputError
from meddef.figures.overlay import magnified, under
from meddef.saliency import default_layer
from meddef.settings import load_profile
from meddef.training.checkpoint import read_header
from meddef.training.schedule import schedule_of

MODELS = """
from torch import nn

def net(classes=2):
    head = nn.Linear(6, classes)
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)

def frozen():
    model = net()
    model[:2].requires_grad_(False)
    return model

def three(): return net(3)
"""
PROFILE = """
name: tiny
description: a test
image_size: 32
datasets: [{name: phantom_xray, split_policy: released, sizes: {train: 24, val: 8, test: 8}}]
variants: [resnet18]
training: {epochs: 1, adversarial: {steps: 2}}
grids: {}
"""
TRAIN = [
    "train",
    "-p",
    "tiny.yaml",
    "--epochs",
    "2",
    "--lr",
    "1e-2",
    "--batch-size",
    "8",
    "-o",
    "w.safetensors",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    Path("own_nets.py").write_text(MODELS)
    Path("tiny.yaml").write_text(PROFILE)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8)).save("grey.png")
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save("colour.png")


def ran(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_an_own_model_is_trained_evaluated_and_seen_through() -> None:
    told = ran(*TRAIN, "--model", "own_nets:frozen", "--method", "madry", "--images", "16")
    assert "w.safetensors: best epoch" in told
    assert (
        "16 images of it frozen: 180 of 524 parameters, with the statistics of 1 normalisation layers" in told
    )
    header = read_header(Path("w.safetensors"))
    assert header["variant"] == "own_nets:frozen"
    assert {name: header["training"][name] for name in ("epochs", "learning_rate", "batch_size", "images")} == {
        "epochs": 2, "learning_rate": 0.01, "batch_size": 8, "images": 16,
    }  # fmt: skip
    assert header["training"]["adversarial"]["method"] == "madry"
    weights = load_file("w.safetensors")
    assert torch.equal(weights["1.running_mean"], torch.zeros(6))  # as it was built
    again = ran(*TRAIN, "--model", "own_nets:frozen", "--method", "madry", "--images", "16")
    assert again == told  # resumed where it ended
    asked = ["-w", "w.safetensors", "--model", "own_nets:net"]
    assert "8 test images" in ran("evaluate", *asked, "--attack", "fgsm")
    with pytest.raises(
        InputError, match="holds the weights of own_nets:frozen: give --model own_nets:frozen"
    ):
        ran("evaluate", "-w", "w.safetensors")
    attacked = ["--attack", "fgsm", "--eps", "0.1", "--image", "grey.png", "--image", "colour.png"]
    told = ran("saliency", *asked, *attacked, "-o", "out.png")
    assert "layer: 3 (the last convolution with maps of 7 x 7; --layer takes another)" in told
    assert "colour.png: in colour, turned to grey" in told  # as the images of the training were
    assert re.search(r"grey.png: (NORMAL|PNEUMONIA) \d+\.\d%; map of (NORMAL|PNEUMONIA)", told)
    assert "grey.png, attacked: " in told
    assert "largest change of a pixel 0.1000" in told
    assert imread("out.png").shape[2] == 4
    with pytest.raises(InputError, match=r"no layer '33': use 0, 3$"):
        ran("saliency", *asked, "--image", "grey.png", "--layer", "33", "-o", "out.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "own_nets:three"], "the model has 3 classes, the data 2"),
        (["--model", "own_nets:net", "--variant", "full"], "give either --variant"),
        ([], "give either --variant"),
        (["--model", "own_nets:net", "--control"], "--control is of a variant"),
        (["--variant", "resnet18", "--images", "99"], "--images 99: split train of phantom_xray has 24"),
        (["--variant", "resnet18", "--lr", "-1"], "learning_rate"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ran(*TRAIN, *arguments)
    assert not Path("w.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.txt"], "'out.txt' is not the name of a .png, .pdf, .svg file"),
        (["-o", "out.png", "--eps", "0.1"], "--eps and --set are for --attack"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ran("saliency", "-w", "w.safetensors", "--image", "grey.png", *arguments)


def test_the_model_and_the_schedule_of_the_howto_are_what_the_package_takes(tmp_path: Path) -> None:
    (code,) = blocks("Train a model of your own", "python")
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["small_net"]().eval()(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    (written,) = blocks("Train a model of your own", "yaml")
    profile = PROFILE.replace("training: {epochs: 1, adversarial: {steps: 2}}\n", written)
    Path("own.yaml").write_text(profile)
    rule = load_profile("own.yaml").training.adversarial
    assert rule is not None
    eps = [255 * schedule_of(rule, 10).epsilon(epoch) for epoch in range(10)]
    assert eps == pytest.approx([1, 1 + 7 / 3, 1 + 14 / 3, *[8] * 7])


def test_a_change_is_magnified_to_the_ends_of_the_scale() -> None:
    shown, factor = magnified(np.array([[0.0, 0.01], [-0.02, 0.02]]))
    assert factor == pytest.approx(25)
    assert shown == pytest.approx(np.array([[0.5, 0.75], [0.0, 1.0]]))
    assert magnified(np.zeros((2, 2)))[1] == 1.0
    picture, heat = np.full((4, 4), 0.5), np.zeros((4, 4))
    assert under(picture, heat).shape == under(np.stack([picture] * 3, 2), heat).shape == (4, 4, 3)
    assert np.allclose(under(picture, heat), under(np.stack([picture] * 3, 2), heat))


def test_the_layer_is_the_last_with_maps() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, stride=4), nn.Conv2d(2, 2, 3), nn.Flatten())
    assert default_layer(model, torch.rand(1, 1, 28, 28)) == ("2", "the last convolution with maps of 4 x 4")
    assert default_layer(model, torch.rand(1, 1, 24, 24))[0] == "1"  # the last one gives 3 x 3 now
    with pytest.raises(InputError, match="no convolution of the model gives maps of 4 x 4 positions"):
        default_layer(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), torch.rand(1, 1, 28, 28))
