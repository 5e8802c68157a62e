"""Transfer: made on one model, judged on another; ``meddef evaluate --source``."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from attack_models import EPS, Linear, cnn, images, labels_of, stripes, trained
from safetensors.torch import save_file
from test_cli_evaluate import folder, given  # noqa: F401  (folder is a fixture: bright images are class 1)
from test_cli_output import failed, ran
from torch import nn

from meddef.attacks import fgsm, noise, pgd, transfer
from meddef.errors import InputError
from meddef.evaluation import evaluate

MODELS = """
import torch
from torch import nn

class Bright(nn.Module):
    def __init__(self, classes=2, sign=1.0):
        super().__init__()
        self.weight = nn.Parameter(sign * torch.ones(1))
        self.classes = classes
    def forward(self, x):
        z = 20 * self.weight * (x.contiguous().view(len(x), -1).mean(1) - 0.25)
        return torch.stack([-z, z, *[z - 99] * (self.classes - 2)], 1)

class One(Bright):
    def forward(self, x):
        return super().forward(x)[:, 1:2]

def bright(): return Bright()
def dark(): return Bright(sign=-1.0)
def three(): return Bright(3)
def one(): return One()
"""


def test_it_is_the_attack_on_the_source() -> None:
    model, source, x = cnn(), cnn(seed=1), images()
    labels = labels_of(model, x)
    settings = {"eps": EPS, "step_size": 0.02, "steps": 5}
    found = transfer(model, x, labels, source=source, attack="pgd", **settings)
    assert torch.equal(found, pgd(source, x, labels, **settings))
    assert torch.equal(found, transfer(model, x, labels, source=source, attack=partial(pgd, **settings)))
    assert not torch.equal(found, pgd(model, x, labels, **settings))
    assert source.training
    assert model.training
    assert all(p.grad is None for one in (model, source) for p in one.parameters())


def test_by_hand_on_two_linear_models() -> None:
    """Weights with equal signs share the examples of a sign step; with opposite signs the step helps the model."""
    base = torch.tensor([[1.0, -1.0]] * 4)
    alike, opposed = Linear(3 * base), Linear(-base)
    x, labels = torch.full((1, 1, 2, 2), 0.52), torch.tensor([0])
    model = Linear(base)
    for source, eps in ((alike, 0.1), (opposed, 0.1)):
        found = transfer(model, x, labels, source=source, attack="fgsm", eps=eps)
        assert torch.equal(found, fgsm(source, x, labels, eps=eps))
    assert (transfer(model, x, labels, source=alike, attack="fgsm", eps=0.1) < x).all()
    assert (transfer(model, x, labels, source=opposed, attack="fgsm", eps=0.1) > x).all()


def test_a_step_size_that_is_left_out_reaches_eps() -> None:
    """5 steps of the paper's 0.01 would not reach 0.1: ``ShortReachWarning`` is an error here."""
    model, x = cnn(), images()
    transfer(model, x, labels_of(model, x), source=cnn(seed=1), attack="bim", eps=0.1, steps=5)


def test_transfer_is_no_stronger_than_a_white_box_and_stronger_than_noise() -> None:
    """On two trained models, the shares of images that each breaks."""
    torch.manual_seed(0)
    model, (x, labels) = trained(4), stripes(64, 4, 28, seed=999)
    source = trained(4, eps=0.02)
    settings = {"eps": 0.05, "step_size": 0.0125, "steps": 20}
    white, black, none = (
        evaluate(model, [(x, labels)], attack).robust_accuracy.value
        for attack in (
            partial(pgd, **settings), partial(transfer, source=source, **settings), partial(noise, eps=0.05),
        )
    )  # fmt: skip
    assert white <= black < none


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": cnn(classes=5)}, "the source has 5 classes, the model 4"),
        ({"source": "weights"}, r"source must be a torch\.nn\.Module, got str"),
        ({"attack": "pdg"}, "unknown attack 'pdg'"),
        ({"speed": 3}, "attack 'pgd' takes no setting 'speed'"),
        ({"eps": -1.0, "step_size": 0.1}, "eps must be finite"),
    ],
)
def test_what_is_wrong_is_said(changes: dict, message: str) -> None:
    asked = {"source": cnn(seed=1), "eps": EPS} | changes
    with pytest.raises(InputError, match=message):
        transfer(cnn(), images(2), torch.tensor([0, 1]), **asked)


@pytest.fixture
def sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    (folder / "own_sources.py").write_text(MODELS)
    monkeypatch.delitem(sys.modules, "own_sources", raising=False)
    save_file({"weight": torch.tensor([1.0])}, folder / "bright.safetensors")
    save_file({"weight": torch.tensor([0.0])}, folder / "blind.safetensors")
    return folder


PGD = ("--attack", "fgsm", "--eps", "0.3")


@pytest.mark.usefixtures("sources")
def test_examples_of_a_source_are_judged_on_the_model() -> None:
    """The model says 1 where images are bright: a source that says so too breaks it, one that says the opposite not."""
    alone = json.loads(ran(*PGD, "--json"))["headline"]["robust_accuracy"]
    found = {
        name: json.loads(ran(*PGD, "--json", "--source", f"own_sources:{name}"))
        for name in ("bright", "dark")
    }
    assert found["bright"]["headline"]["robust_accuracy"] == alone == 0
    assert found["dark"]["headline"]["robust_accuracy"] >= found["dark"]["headline"]["clean_accuracy"] > 0
    assert found["bright"]["source"]["model"] == "own_sources:bright"
    assert found["bright"]["source"]["on_itself"][""]["after"] == 0
    told = " ".join(ran(*PGD, "--source", "own_sources:bright:bright.safetensors").split())
    assert "fgsm at ε = 0.3, made on own_sources:bright:bright.safetensors,: 0.0%" not in told
    assert (
        "Robust accuracy under fgsm at ε = 0.3, made on own_sources:bright:bright.safetensors: 0.0%" in told
    )
    assert re.search(r"on the source itself: \d of 8 right before the attack, 0 after", told)


@pytest.mark.usefixtures("sources")
def test_a_curve_and_labels_have_a_source_too() -> None:
    told = " ".join(ran("--attack", "fgsm", "--eps", "0.001,0.3", "--source", "own_sources:bright").split())
    assert "ε = 0.3: on the source itself:" in told
    told = ran(*PGD, "--activation", "sigmoid", "--source", "own_sources:bright", "--json")
    assert set(json.loads(told)["source"]["on_itself"]) == {"NORMAL", "PNEUMONIA"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "own.safetensors"], "does not say which model it is of: give module:factory:own.safet"),
        (["--source", "own_sources:three"], "the model has 3 classes, the data 2"),
        (["--source", "own_sources:none"], "--source: module 'own_sources' has no 'none'"),
        (["--source", "own_sources:bright:none.safetensors"], "no weights at none.safetensors"),
        (["--source", "none.safetensors"], "no weights at none.safetensors"),
        (["--source", "own_sources:bright", "--attack", "clean"], "--source is of a transfer attack"),
        (["--source", "own_sources:one", "--activation", "sigmoid"], "predicts PNEUMONIA, and not NORMAL"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_a_source_that_is_none_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (line,) = failed(given("own_models:net", "own.safetensors", *arguments), monkeypatch, capsys)
    assert code == 2
    assert message in line


@pytest.mark.usefixtures("sources")
def test_an_attack_that_fails_on_its_source_is_told() -> None:
    """A source without any answer breaks nothing, and the counts say so."""
    told = " ".join(
        ran("--attack", "noise", "--eps", "0.3", "--source", "own_sources:bright:blind.safetensors").split()
    )
    before, after = re.search(r"itself: (\d) of 8 right before the attack, (\d) after", told).groups()  # type: ignore[union-attr]
    assert before == after


def test_the_source_s_layers_are_restored() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = cnn(seed=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.sub_(0.1))  # it writes into its input

    source, x = Odd(), images(3)
    kept = x.clone()
    found = transfer(cnn(), x, torch.tensor([0, 1, 2]), source=source, attack="fgsm", eps=EPS)
    assert torch.equal(x, kept)
    assert source.training
    assert not torch.equal(found, x)
