"""``meddef evaluate`` on saved weights, the paper's models' and one's own, and ``meddef attacks``."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_models import cnn
from safetensors.torch import save_file
from typer.testing import CliRunner

from meddef.attacks import ATTACKS
from meddef.attacks.options import check_options, options
from meddef.attacks.registry import SOURCES
from meddef.cli import app, main
from meddef.commands.attacks import parse_settings
from meddef.errors import InputError

PROFILE = """
name: tiny
description: a test
image_size: 32
datasets: [{name: phantom_xray, split_policy: released, sizes: {train: 4, val: 4, test: 8}}]
variants: [resnet18]
training: {epochs: 1}
grids: {}
"""
MODELS = """
import torch
from torch import nn

def net(classes=2, width=3):
    return nn.Sequential(nn.AvgPool2d(8), View(), nn.Linear(3 * 16, classes))

class View(nn.Module):
    def forward(self, x):
        return x.view(len(x), -1)  # refuses channels-last

def ten(): return net(10)
def needs(size): return net()
def nothing(): return None
def coloured(): return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
ready = net()
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a profile, ``own_models.py`` and weights for its ``net``: class 1 where images are bright."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    monkeypatch.delitem(sys.modules, "own_broken", raising=False)
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    (tmp_path / "own_models.py").write_text(MODELS)
    (tmp_path / "own_broken.py").write_text("import no_such_package_at_all\n")
    weight = torch.stack([torch.zeros(48), torch.full((48,), 1.0)])
    save_file({"2.weight": weight, "2.bias": torch.tensor([0.0, -12.0])}, tmp_path / "own.safetensors")
    return tmp_path


def given(model: str = "own_models:net", weights: str = "own.safetensors", *more: str) -> list[str]:
    common = ["evaluate", "--dataset", "phantom_xray", "-p", "tiny.yaml", "--images", "8"]
    return [*common, "--model", model, "-w", weights, *more]


def test_a_model_of_ones_own_is_evaluated(folder: Path) -> None:
    result = CliRunner().invoke(
        app,
        given("own_models:net", "own.safetensors", "--attack", "bim", "--eps", "8/255", "--set", "steps=2"),
    )
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert (
        "bim (eps=0.03137, step_size=0.03922, steps=2) on" in told
    )  # 2.5 eps / steps: 2 of 0.01 do not reach
    assert "largest change of a pixel 0.0314" in told  # two steps of 0.01
    assert "own_models:net, phantom_xray, 8 test images" in told


def test_the_image_size_can_be_given(folder: Path) -> None:
    with pytest.raises(InputError, match=r"cannot take images of shape \(1, 3, 40, 40\)"):
        CliRunner().invoke(
            app,
            given("own_models:net", "own.safetensors", "--image-size", "40"),
            catch_exceptions=False,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given("own_models"), "'own_models' is not of the form module:factory"),
        (given("own_models.py:"), "not of the form module:factory"),
        (given("./own_models.py:net"), "not of the form module:factory"),
        (given("other_models:net"), "no module 'other_models'"),
        (given("own_models.deep:net"), "no module 'own_models.deep'"),
        (given("own_broken:net"), "needs 'no_such_package_at_all', which is not installed"),
        (given("own_models:missing"), "module 'own_models' has no 'missing'"),
        (given("own_models:number"), "is a int: give a function"),
        (given("own_models:ready"), "is a Sequential: give a function"),
        (given("own_models:needs"), "called without arguments, but: missing a required argument: 'size'"),
        (given("own_models:nothing"), "returned a NoneType, not a torch.nn.Module"),
        (given("own_models:coloured"), "own.safetensors holds the weights of another model"),
        (
            given(weights="ten.safetensors", model="own_models:ten"),
            "10 classes, the data 2: NORMAL, PNEUMONIA",
        ),
        (given(weights="own.pth"), "own.pth looks pickled .* safetensors.torch.save_file"),
        (given(weights="own.pt"), "own.pt looks pickled"),
        (given(weights="none.safetensors"), "no weights at none.safetensors"),
        ([*given(), "--variant", "full"], "give either --variant .* or --model"),
        (["evaluate", "--dataset", "phantom_xray", "-w", "own.safetensors"], "give either --variant"),
        ([*given(), "--set", "step=3"], "attack 'pgd' takes no setting 'step': it takes step_size, steps"),
        ([*given(), "--set", "steps"], "'steps' is not of the form name=value"),
        ([*given(), "--set", "steps=many"], "'steps' of attack 'pgd' must be a whole number, got 'many'"),
        ([*given(), "--set", "steps=0"], "steps must be a whole number of at least 1, got 0"),
        ([*given(), "--set", "eps=0.1"], "eps is given apart from the settings"),
        ([*given(), "--set", "steps=1", "--set", "steps=2"], "--set steps is given twice"),
        ([*given(), "--attack", "jsma", "--eps", "0.1"], "attack 'jsma' has no --eps"),
        ([*given(), "--attack", "clean", "--set", "steps=1"], "attack 'clean' has no --eps and no settings"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_file({"2.weight": torch.zeros(10, 48), "2.bias": torch.zeros(10)}, folder / "ten.safetensors")
    monkeypatch.setattr(sys, "argv", ["meddef", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, line), line


def test_settings_are_read_as_what_they_look_like() -> None:
    text = ["steps=100", "step_size=2/255", "fast=True", "max_steps=none", "loss = margin"]
    expected = {"steps": 100, "step_size": 2 / 255, "fast": True, "max_steps": None, "loss": "margin"}
    assert parse_settings(text) == expected


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pgd", {"steps": 3, "step_size": 1, "random_start": False, "norm": "l2"}),
        ("jsma", {"targets": "all", "max_steps": None, "theta": -0.5}),
    ],
)
def test_settings_that_fit_are_taken(name: str, settings: dict[str, Any]) -> None:
    check_options(name, settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 2.0}, "'steps' of attack 'pgd' must be a whole number, got 2.0"),
        ({"steps": True}, "must be a whole number, got True"),
        ({"random_start": 1}, "must be true or false, got 1"),
        ({"generator": None}, "takes no setting 'generator'"),
        ({"targeted": True}, "labels here are the true classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options("pgd", settings)


@pytest.mark.filterwarnings("ignore::meddef.attacks.NoStartWarning")  # with a single query
@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_default_is_a_setting_that_fits_and_runs(name: str) -> None:
    check_options(name, options(name))
    few = {key: 1 for key in ("steps", "queries", "max_steps") if key in options(name)}
    few |= {"step_size": 0.1} if "step_size" in options(name) else {}
    x, labels = torch.full((1, 3, 8, 8), 0.5), torch.tensor([0])
    assert ATTACKS[name](cnn(), x, labels, **{**options(name), **few}).shape == x.shape


def test_every_attack_is_listed_with_its_settings_and_source() -> None:
    result = CliRunner().invoke(app, ["attacks"])
    assert result.exit_code == 0
    assert set(SOURCES) == set(ATTACKS)
    for name in ATTACKS:
        assert name in result.output
    for part in ("eps=0.05 (--eps)", "steps=40", "theta=0.1", "https://arxiv.org/abs/1511.07528"):
        assert part in result.output
