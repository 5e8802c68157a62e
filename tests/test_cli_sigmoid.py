"""``--activation sigmoid``: a model of one logit, and one of a logit a class."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_cli_evaluate import folder, given  # noqa: F401  (folder is a fixture: bright images are class 1)
from test_cli_output import failed
from typer.testing import CliRunner

from meddef.cli import app
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget

pytestmark = pytest.mark.usefixtures("folder")
MODELS = """
from torch import nn
from own_models import View

def one(): return nn.Sequential(nn.AvgPool2d(8), View(), nn.Linear(48, 1))
def flat(): return nn.Sequential(one(), nn.Flatten(0))
def two(): return nn.Sequential(nn.AvgPool2d(8), View(), nn.Linear(48, 2))
def three(): return nn.Sequential(nn.AvgPool2d(8), View(), nn.Linear(48, 3))
"""
SIGMOID = ["--activation", "sigmoid"]
PGD = ["--attack", "pgd", "--eps", "8/255", "--set", "steps=4"]


@pytest.fixture(autouse=True)
def _models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """``one`` and ``flat`` say the difference of the logits of ``own_models:net``, ``two`` say that twice."""
    Path("own_sigmoid.py").write_text(MODELS)
    monkeypatch.delitem(sys.modules, "own_sigmoid", raising=False)
    bright, bias = torch.ones(1, 48), torch.tensor([-12.0])
    save_file({"2.weight": bright, "2.bias": bias}, "one.safetensors")
    save_file({"0.2.weight": bright, "0.2.bias": bias}, "flat.safetensors")
    save_file(
        {"2.weight": torch.cat([-bright, bright]), "2.bias": torch.cat([-bias, bias])}, "two.safetensors"
    )
    save_file({"2.weight": bright.repeat(3, 1), "2.bias": bias.repeat(3)}, "three.safetensors")


def ran(name: str, *more: str) -> Any:
    arguments = given(f"own_sigmoid:{name}", f"{name}.safetensors", *SIGMOID, *more, "--json")
    return json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)


@pytest.mark.parametrize("name", ["one", "flat"])
@pytest.mark.parametrize("attack", [PGD, ["--attack", "apgd", "--eps", "0.02"], ["--eps", "0.01,0.02"]])
def test_one_logit_is_judged_as_the_two_it_stands_for(name: str, attack: list[str]) -> None:
    result = CliRunner().invoke(app, given("own_models:net", "own.safetensors", *attack, "--json"))
    two, one = json.loads(result.stdout), ran(name, *attack)
    assert two["headline"] == one["headline"]
    for rows in ("rates", "diagnostic", "curve"):
        for theirs, mine in zip(two.get(rows, []), one.get(rows, []), strict=True):
            assert mine == {key: pytest.approx(x) if isinstance(x, float) else x for key, x in theirs.items()}


def test_one_logit_a_class_is_a_question_a_class() -> None:
    """Both labels ask the same of opposite images, so their rates are the same; each is that of the one logit."""
    told, one = ran("two", *PGD, "-o", "out.html", "-o", "out.csv"), ran("one", *PGD)
    assert {row["label"] for row in told["rates"]} == {"NORMAL", "PNEUMONIA"}
    for row in told["rates"]:
        (same,) = (other for other in one["rates"] if other["measure"] == row["measure"])
        assert {key: row[key] for key in same} == same
    read = {
        (row["label"], row["measure"], row["class"], row["when"]): row["rate"] for row in told["diagnostic"]
    }
    theirs = {(row["measure"], row["when"]): row["rate"] for row in one["diagnostic"]}
    for when in ("before", "after"):
        assert read["PNEUMONIA", "sensitivity", "PNEUMONIA", when] == theirs["sensitivity", when]
        assert read["NORMAL", "sensitivity", "NORMAL", when] == theirs["specificity", when]
    assert told["headline"]["lowest_robust_accuracy"] == one["headline"]["robust_accuracy"]
    assert "Diagnostic accuracy: NORMAL" in Path("out.html").read_text()


def test_its_robustness_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", Budget(8, 2, 2, 1, 2, 1, 1))
    common = ["check-robustness", "--dataset", "phantom_xray", "-p", "tiny.yaml", "--eps", "8/255", "--json"]
    found = [
        json.loads(CliRunner().invoke(app, [*common, *more], catch_exceptions=False).stdout)["headline"]
        for more in (
            ["--model", "own_models:net", "-w", "own.safetensors"],
            ["--model", "own_sigmoid:one", "-w", "one.safetensors", *SIGMOID],
        )
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("one", [], r"turn one logit z into two: meddef.models.Binary\(model\), or --activation sigmoid"),
        ("one", ["--activation", "relu"], "--activation 'relu' is unknown: use softmax or sigmoid"),
        ("three", SIGMOID, r"one logit .* or one for each of NORMAL, PNEUMONIA; the model returned \(1, 3\)"),
        ("two", [*SIGMOID, "--eps", "0.1,0.2"], "several labels are attacked one by one, at one --eps"),
        ("two", [*SIGMOID, "-o", "out.png"], "several labels are attacked one by one.* and a picture"),
        ("two", [*SIGMOID, "--targets", "1"], "several labels are attacked one by one"),
    ],
)
def test_what_cannot_be_is_one_line(
    name: str,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = given(f"own_sigmoid:{name}", f"{name}.safetensors", *arguments)
    code, (line,) = failed(arguments, monkeypatch, capsys)
    assert code == 2
    assert re.search(message, line), line
