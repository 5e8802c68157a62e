"""Results as files, targeted and L2 attacks from the command line, small images, and whose error it is."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_cli_evaluate import folder, given  # noqa: F401  (folder is a fixture: bright images are class 1)
from typer.testing import CliRunner

from meddef.cli import app, main
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget
from meddef.robustness.registry import CHECKS

pytestmark = pytest.mark.usefixtures("folder")
PICKY = """
import torch
from torch import nn

class Picky(nn.Module):
    def __init__(self, only_one=False):
        super().__init__()
        self.only_one = only_one
        self.weight = nn.Parameter(torch.ones(3, 2))
    def forward(self, x):
        if x.shape[-1] != 28:
            raise ValueError(f"I take 28 x 28, not {x.shape[-1]}")
        if self.only_one and len(x) > 1:
            raise KeyError("one image at a time")
        return x.mean((2, 3)) @ self.weight

def small(): return Picky()
def single(): return Picky(True)
def lost(): return open("no_such_file.json")
"""


@pytest.fixture
def picky(folder: Path) -> None:  # noqa: F811
    Path("own_picky.py").write_text(PICKY)
    save_file({"weight": torch.tensor([[0.0, 1.0]] * 3) * 9}, "picky.safetensors")
    sys.modules.pop("own_picky", None)


def ran(*more: str) -> str:
    result = CliRunner().invoke(
        app, given("own_models:net", "own.safetensors", *more), catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple:
    monkeypatch.setattr(sys, "argv", ["meddef", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err.strip().splitlines()


def test_json_says_what_it_is_of() -> None:
    told = json.loads(ran("--attack", "bim", "--eps", "8/255", "--json", "-o", "made/out.json"))
    assert told == json.loads(Path("made/out.json").read_text())
    assert (told["model"], told["data"], told["split"], told["n"]) == (
        "own_models:net",
        "phantom_xray",
        "test",
        8,
    )
    assert (told["attack"], told["eps"], told["settings"]["steps"]) == ("bim", 8 / 255, 40)
    assert set(told["versions"]) == {"meddef", "torch"}
    assert len(told["weights_sha256"]) == len(told["fingerprint"]) == 64
    clean, robust, success = told["rates"]
    assert clean["of"] == robust["of"] == 8
    assert success["of"] == clean["hits"]
    assert told["headline"]["robust_accuracy"] == robust["hits"] / 8
    assert robust["low"] < robust["rate"] + 1e-9
    assert 0 < told["headline"]["largest_change"] <= 8 / 255


def test_csv_has_a_line_a_rate() -> None:
    ran("--attack", "fgsm", "--eps", "0.1", "-o", "out.csv")
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["measure"] for row in rows[:3]] == [
        "clean accuracy",
        "robust accuracy",
        "attack success rate",
    ]
    assert {(row["class"], row["when"]) for row in rows if row["measure"] == "sensitivity"} == {
        ("PNEUMONIA", "before"), ("PNEUMONIA", "after"),
    }  # fmt: skip
    assert {row["eps"] for row in rows} == {"0.1"}
    assert all(row["torch_version"] and row["model"] == "own_models:net" for row in rows)
    assert [int(row["of"]) for row in rows[:2]] == [8, 8]


def test_a_report_is_written_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", Budget(8, 2, 2, 1, 2, 1, 1))
    arguments = given("own_models:net", "own.safetensors", "--eps", "8/255", "-o", "report.csv")
    arguments = ["check-robustness", *(a for a in arguments[1:] if a not in ("--images", "8"))]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    headline, table = (
        result.stdout.index(text) for text in ("Robust accuracy at ε = 0.03137", CHECKS[0].name)
    )
    assert headline < table
    rows = list(csv.DictReader(Path("report.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [check.name for check in CHECKS]
    assert json.loads(rows[0]["numbers"])["images"] == int(rows[0]["n"]) == 8
    assert {row["robust_accuracy"] for row in rows} == {rows[0]["robust_accuracy"]}


def test_an_attack_in_l2_takes_a_length() -> None:
    told = json.loads(ran("--set", "norm=l2", "--eps", "3", "--json"))
    assert (told["eps"], told["settings"]["norm"]) == (3, "l2")
    assert told["settings"]["step_size"] == 2.5 * 3 / 40
    assert 0 < told["headline"]["largest_change"] < 1


@pytest.mark.parametrize("targets", ["second", "least", "normal", "0"])
def test_a_targeted_attack_has_its_own_success(targets: str) -> None:
    """The network predicts from brightness, so that a step of 0.5 yields any class."""
    told = json.loads(ran("--attack", "bim", "--eps", "0.5", "--targets", targets, "--json"))
    assert told["settings"]["targeted"]
    assert told["targets"] == targets
    rate = told["rates"][-1]
    assert rate["measure"] == "targeted success"
    assert rate["hits"] == rate["of"] > 0
    asked = ran("--attack", "bim", "--eps", "0.5", "--targets", targets, "--set", "targeted=true")
    assert f"targets={targets}" in " ".join(asked.split())
    assert "targeted success" in asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "targeted=true"],
            "needs a target: give --targets with a class, second or least",
        ),
        (["--set", "targeted=1", "--targets", "1"], "--set targeted=1 must be true or false"),
        (["--set", "targeted=false", "--targets", "1"], "--targets is given, and --set targeted=false"),
        (["--targets", "2"], "'2' is no class: use second, least, NORMAL or 0, PNEUMONIA or 1"),
        (
            ["--targets", "1", "--attack", "apgd"],
            "--targets is for fgsm, pgd, bim, square, mifgsm, cw, patch, not for 'apgd'",
        ),
        (["--targets", "1", "--attack", "jsma"], "give --set targets=second, least or all"),
        (["--targets", "1", "--attack", "clean"], "not for 'clean'"),
        (["--eps", "3"], "--eps 3 is out of range: .* in L2 --attack pgd --set norm=l2"),
        (["--eps", "-1", "--set", "norm=l2"], "--eps -1 is out of range"),
        (
            ["-o", "out.txt"],
            "--output 'out.txt' is not the name of a .json, .csv, .html, .md, .tex, .png, .pdf or .svg file",
        ),
        (["-o", "."], "is not the name of a"),
        (
            ["--image-size", "40"],
            r"cannot take images of shape \(1, 3, 40, 40\): RuntimeError: .*mat1 and mat2",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = failed(given("own_models:net", "own.safetensors", *arguments), monkeypatch, capsys)
    assert code == 2
    (line,) = lines
    assert re.search(message, line), line
    assert not list(Path().glob("out*"))


@pytest.mark.usefixtures("picky")
def test_images_of_28_pixels_are_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = given("own_picky:small", "picky.safetensors", "--attack", "fgsm", "--eps", "0.01")
    result = CliRunner().invoke(app, [*arguments, "--image-size", "28"], catch_exceptions=False)
    assert "28 px" in result.output
    code, (line,) = failed([*arguments, "--image-size", "32"], monkeypatch, capsys)
    assert code == 2
    assert line.endswith("ValueError: I take 28 x 28, not 32 (own_picky.py, line 12, in forward)")


@pytest.mark.usefixtures("picky")
def test_an_error_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (line,) = failed(given("own_picky:lost", "picky.safetensors"), monkeypatch, capsys)
    assert code == 2
    assert re.search(
        r"'own_picky:lost' raised FileNotFoundError: .*no_such_file.*\(own_picky.py, line 19", line
    )
    single = given("own_picky:single", "picky.safetensors", "--image-size", "28")
    code, (line,) = failed(single, monkeypatch, capsys)
    assert code == 1
    assert (
        "KeyError: 'one image at a time': an error in your own code (own_picky.py, line 14, in forward)"
        in line
    )
    code, lines = failed([*single, "--debug"], monkeypatch, capsys)
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == line
    Path("own_exits.py").write_text("import sys\nsys.exit(3)\n")
    code, (line,) = failed(given("own_exits:net"), monkeypatch, capsys)
    assert "importing 'own_exits' raised SystemExit: 3 (own_exits.py, line 2" in line
    assert code == 2
    monkeypatch.setattr("meddef.evaluation.single.load_model", lambda *a, **b: [][0])
    code, (line,) = failed(given(), monkeypatch, capsys)
    assert code == 1
    assert "IndexError: list index out of range: an error" in line
