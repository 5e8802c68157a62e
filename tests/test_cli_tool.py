"""``meddef evaluate`` as a tool: reports, a gate for CI, a curve along ε, one's own attack, what a clinician reads."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_cli_evaluate import folder, given  # noqa: F401  (folder is a fixture: bright images are class 1)
from test_cli_output import failed, ran
from test_howto import blocks
from typer.testing import CliRunner

from meddef.cli import app

pytestmark = pytest.mark.usefixtures("folder")
ATTACKS = """
import torch

def mine(model, images, labels, *, eps=0.1, steps=1):
    dark = labels[:, None, None, None] == 1
    return torch.where(dark, images - eps * steps, images + eps * steps).clamp(0, 1)

def outside(model, images, labels): return images + 2
def lazy(model, images): return images
thing = 3
"""
OWN = ["--attack", "own_attacks:mine"]


@pytest.fixture(autouse=True)
def _own_attacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    Path("own_attacks.py").write_text(ATTACKS)
    monkeypatch.delitem(sys.modules, "own_attacks", raising=False)


def test_the_headline_is_the_first_line_of_what_is_printed_and_written() -> None:
    told = ran(
        "--attack", "fgsm", "--eps", "8/255", "-o", "r.md", "-o", "r.html", "-o", "r.json", "-o", "r.svg"
    )
    first = told.splitlines()[0]
    rates = {row["measure"]: row for row in json.loads(Path("r.json").read_text())["rates"]}
    robust = rates["robust accuracy"]
    assert first.startswith(f"Robust accuracy under fgsm at ε = 8/255: {robust['rate']:.1%} (95 %")
    assert f"of {robust['of']} images" in first
    markdown, page = Path("r.md").read_text(), Path("r.html").read_text()
    assert markdown.splitlines()[0] == f"**{first}**"
    assert re.search(r"<h1>(.*)</h1>", page)[1] == first  # type: ignore[index]
    for text in (markdown, page, told):
        assert "sensitivity" in text
    assert "http" not in page  # it reads offline
    assert Path("r.svg").read_text().count("<svg") == 1


def test_a_run_fails_below_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    robust = json.loads(ran(*OWN, "--eps", "0.1", "--json"))["headline"]["robust_accuracy"]
    assert 0 < robust < 1
    passing = given("own_models:net", "own.safetensors", *OWN, "--eps", "0.1", "--fail-under", str(robust))
    assert CliRunner().invoke(app, passing, catch_exceptions=False).exit_code == 0
    asked = str(robust + 0.01)
    code, (line,) = failed([*passing[:-1], asked, "-o", "kept.json"], monkeypatch, capsys)
    assert code == 1
    assert line == f"meddef: robust accuracy is {robust:.3f}, {asked} required"
    assert Path("kept.json").is_file()


def test_a_curve_says_where_each_image_falls() -> None:
    told = ran(*OWN, "--eps", "0.02,0.01,0.3", "-o", "c.json", "-o", "c.csv", "-o", "c.png", "-o", "c.html")
    found = json.loads(Path("c.json").read_text())
    assert [row["eps"] for row in found["curve"]] == [0, 0.01, 0.02, 0.3]
    for row in found["curve"]:
        alone = ["--attack", "clean"] if row["eps"] == 0 else [*OWN, "--eps", str(row["eps"])]
        rates = json.loads(ran(*alone, "--json"))["headline"]
        assert row["rate"] == rates["robust_accuracy"], row["eps"]
    least = [image["least_eps"] for image in found["images"]]
    assert [least.count(row["eps"]) for row in found["curve"]] == [row["fallen"] for row in found["curve"]]
    assert least.count(None) == found["curve"][-1]["hits"]  # these stand
    assert len({image["name"] for image in found["images"]}) == len(least) == 8
    rows = list(csv.DictReader(Path("c.csv").read_text().splitlines()))
    assert [float(row["rate"]) for row in rows] == [row["rate"] for row in found["curve"]]
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    assert "first fooled here" in told


def test_a_curve_names_the_step_of_each_budget() -> None:
    """A quarter of each ε, up to the paper's .01."""
    told = ran("--attack", "pgd", "--eps", "0.008,0.02,0.1", "-o", "c.json")
    assert json.loads(Path("c.json").read_text())["settings"]["step_size"] == [0.002, 0.005, 0.01]
    assert "step_size=0.002 to 0.01" in " ".join(told.split())


@pytest.mark.parametrize(("step", "coarse"), [("0.03", True), ("0.01", False)])
def test_steps_across_the_whole_ball_are_named(step: str, coarse: bool) -> None:
    told = ran("--attack", "pgd", "--eps", "0.01", "--set", f"step_size={step}")
    assert ("steps of 0.03 cross the whole ball of ε = 0.01" in told) is coarse


def test_an_attack_of_ones_own_is_called_with_its_settings() -> None:
    told = json.loads(ran(*OWN, "--eps", "0.05", "--set", "steps=2", "--json"))
    assert (told["attack"], told["eps"], told["settings"]) == ("own_attacks:mine", 0.05, {"steps": 2})
    assert told["headline"]["largest_change"] == pytest.approx(0.1, abs=1e-6)
    assert "moved a pixel by 0.1000, more than its ε of 0.0500" in ran(
        *OWN, "--eps", "0.05", "--set", "steps=2"
    )
    assert "more than its ε" not in ran(*OWN, "--eps", "0.05")


def test_a_constant_classifier_is_not_passed_off_as_robust(folder: Path) -> None:  # noqa: F811
    weights = load_file(folder / "own.safetensors")
    save_file(weights | {"2.bias": torch.tensor([0.0, 100.0])}, folder / "own.safetensors")
    for eps in ("0.1", "0.01,0.1"):
        told = ran("--attack", "fgsm", "--eps", eps)
        assert "every clean image is predicted as" in told
        assert "nothing of robustness" in told.replace("\n", " ")


def test_sensitivity_is_that_of_the_class_that_is_asked_for() -> None:
    read = {
        name: {
            (row["measure"], row["when"]): row["rate"]
            for row in json.loads(ran(*OWN, "--eps", "0.1", "--json", "--positive", name))["diagnostic"]
        }
        for name in ("NORMAL", "1")
    }
    for when in ("before", "after"):
        assert read["NORMAL"]["sensitivity", when] == read["1"]["specificity", when]
        assert read["NORMAL"]["AUROC", when] == pytest.approx(read["1"]["AUROC", when])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--positive", "SICK"], "--positive 'SICK' is no class: use NORMAL or 0, PNEUMONIA or 1"),
        (["--positive", "1", "--dataset", "phantom_oct"], "--positive is for two classes, and there are 4"),
        (["--eps", "0.1,0.1"], "--eps 0.1,0.1: several must be above 0 and differ"),
        (["--eps", "0,0.1"], "several must be above 0"),
        (["--eps", "0.1,"], "--eps '' is not a number"),
        (["--eps", "0.1,0.2", "--targets", "1"], "--targets is for one --eps"),
        (["--eps", "0.1,0.2", "--attack", "jsma"], "attack 'jsma' has no --eps"),
        (["--attack", "own_attacks:none"], "--attack: module 'own_attacks' has no 'none'"),
        (["--attack", "own_attacks:"], "--attack 'own_attacks:' is not of the form module:function"),
        (["--attack", "own_attacks:thing"], "'own_attacks:thing' is a int: give a function"),
        (
            ["--attack", "own_attacks:lazy"],
            "called as .model, images, labels.*: too many positional arguments",
        ),
        (["--attack", "own_attacks:outside"], r"the attack returned pixels .* outside \[0, 1\]"),
        (
            [*OWN, "--set", "speed=2"],
            "labels, speed=2., from --eps and --set, but: got an unexpected keyword",
        ),
        ([*OWN, "--targets", "1"], "targeted=True., .*unexpected keyword argument 'targeted'"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = given("own_models:net", "own.safetensors", *arguments, "-o", "out.json")
    code, (line,) = failed(arguments, monkeypatch, capsys)
    assert code == 2
    assert re.search(message, line), line
    assert not Path("out.json").exists()


def test_the_attack_of_the_howto_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("Attack with a function of your own", "python")
    Path("my_attacks.py").write_text(code)
    monkeypatch.delitem(sys.modules, "my_attacks", raising=False)
    told = json.loads(ran("--attack", "my_attacks:brighter", "--eps", "0.3", "--set", "steps=9", "--json"))
    assert told["headline"]["robust_accuracy"] < told["headline"]["clean_accuracy"]
    assert told["headline"]["largest_change"] == pytest.approx(0.3, abs=1e-6)


def test_the_labels_of_the_howto_are_judged(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("Judge a model of one logit, or of several labels", "python")
    x, labels = torch.rand(4, 3, 8, 8), torch.tensor([[0, 1]] * 4)
    exec(
        code,
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)), "loader": [(x, labels)]},
    )
    assert len(capsys.readouterr().out.splitlines()) == 2
