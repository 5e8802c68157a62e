"""``meddef prune``: masks that last through fine-tuning, and a table whose numbers are those of evaluate."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attack_models import cnn, images
from safetensors.torch import load_file, save_file
from test_cli_evaluate import folder, given  # noqa: F401  (folder is a fixture: bright images are class 1)
from test_cli_output import failed, ran
from torch import nn
from typer.testing import CliRunner

from meddef.cli import app
from meddef.commands.prune import parse_rates, training_of
from meddef.errors import InputError
from meddef.evaluation.compression import compressed
from meddef.evaluation.metrics import evaluate
from meddef.pruning import prunable_weights, prune_l1, sparsity
from meddef.settings import load_profile
from meddef.training import zeros_kept
from meddef.training.checkpoint import read_header

ATTACK = ("--attack", "fgsm", "--eps", "0.01")


def arguments(*more: str) -> list[str]:
    return ["prune", *given("own_models:net", "own.safetensors")[1:], *ATTACK, *more]


def pruned(*more: str) -> str:
    result = CliRunner().invoke(app, arguments(*more), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("folder")
def test_each_row_is_what_evaluate_says_of_that_rate_and_of_its_file() -> None:
    told = pruned("--rates", "0.75,0.25", "-o", "t.json", "-o", "t.csv", "-o", "t.md", "-o", "t.html",
                  "-o", "made/pruned.safetensors")  # fmt: skip
    rows = json.loads(Path("t.json").read_text())["rates"]
    assert [row["rate"] for row in rows] == [0, 0.25, 0.75]
    for row, zeros in zip(rows, (48, 48, 72), strict=True):  # 48 of the 96 weights are zero from the start
        assert (row["parameters"], row["parameters_left"]) == (98, 98 - zeros)
        assert row["sparsity"] == zeros / 96
        assert row["sparsity_of_layers"] == {"2.weight": zeros / 96}
        rate = [] if not row["rate"] else ["--prune-rate", str(row["rate"])]
        head = json.loads(ran(*ATTACK, *rate, "--json"))["headline"]
        assert (row["clean_rate"], row["robust_rate"]) == (head["clean_accuracy"], head["robust_accuracy"])
        assert row["robust_low"] <= row["robust_rate"] <= row["robust_high"]
        assert row["milliseconds_per_image"] > 0
        if row["rate"]:
            place = Path("made") / f"pruned-{row['rate']:g}.safetensors"
            assert int((load_file(place)["2.weight"] == 0).sum()) == zeros
            assert read_header(place)["pruned"] == {
                "rate": row["rate"], "scope": "global", "fine_tuned_epochs": 0
            }  # fmt: skip
            again = CliRunner().invoke(app, given("own_models:net", str(place), *ATTACK, "--json"))
            assert json.loads(again.stdout)["headline"] == head
    lines = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert [float(line["robust_rate"]) for line in lines] == [row["robust_rate"] for row in rows]
    for text in (told, Path("t.md").read_text(), Path("t.html").read_text()):
        assert "unpruned" in text
        assert "75%" in text
    assert told.startswith(f"Pruned by 75% (global): clean accuracy {rows[2]['clean_rate']:.1%} (unpruned")
    assert "saves no time" in " ".join(told.split())


@pytest.mark.usefixtures("folder")
def test_a_constant_classifier_is_not_passed_off_as_robust() -> None:
    weights = load_file("own.safetensors")
    save_file(weights | {"2.bias": torch.tensor([0.0, 100.0])}, "own.safetensors")
    told = " ".join(pruned("--rates", "0.6").split())
    assert "unpruned: every clean image is predicted as PNEUMONIA" in told
    assert "at 60%: every clean image is predicted as PNEUMONIA" in told


@pytest.mark.usefixtures("folder")
def test_fine_tuning_trains_what_is_left_and_nothing_else() -> None:
    told = pruned(
        "--rates",
        "0.75",
        "--fine-tune",
        "2",
        "--learning-rate",
        "0.05",
        "-o",
        "p.safetensors",
        "-o",
        "t.json",
    )
    before, after = load_file("own.safetensors")["2.weight"], load_file("p.safetensors")["2.weight"]
    kept = prune_l1(_linear(before), 0.75).weight != 0
    assert torch.equal(after != 0, kept)
    assert not torch.equal(after[kept], before[kept])
    assert "fine-tuned for 2 epochs (clean)" in " ".join(told.split())
    found = json.loads(Path("t.json").read_text())
    assert found["fine_tuning"]["learning_rate"] == 0.05
    assert found["rates"][1]["sparsity"] == 0.75


@pytest.mark.parametrize(
    ("training", "method", "expected"),
    [
        (None, None, "clean"),
        ({"epochs": 9, "adversarial": {"steps": 7}}, None, "adversarial"),
        ({"epochs": 9, "adversarial": {"steps": 7}}, "clean", "clean"),
        ({"epochs": 9, "adversarial": {"steps": 7}}, "fast", "fast"),
        (
            {"epochs": 9, "adversarial": {"method": "madry", "steps": 7, "epsilon": 0.01}},
            "madry",
            "madry epsilon=0.01",
        ),
    ],
)
def test_the_fine_tuning_is_the_training_unless_another_is_asked_for(
    training: dict | None, method: str | None, expected: str
) -> None:
    header = {} if training is None else {"training": training}
    recipe = training_of(SimpleNamespace(headers=[header]), load_profile("smoke"), 2, method, 0.003)
    assert (recipe.name, recipe.epochs, recipe.learning_rate) == (expected, 2, 0.003)
    if training and recipe.adversarial:
        assert recipe.adversarial.steps == 7


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*reversed(weight.shape))
    layer.weight.data.copy_(weight)
    return layer


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_zeros_stay_zero_under_an_optimizer(scope: str, optimizer: type[torch.optim.Optimizer]) -> None:
    """With weight decay and momentum; without the masks the same steps fill the zeros."""
    x, labels = images(), torch.tensor([0, 1, 2, 3, 0, 1])

    def steps(model: nn.Module) -> None:
        more = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
        walker = optimizer(model.parameters(), lr=0.05, weight_decay=0.1, **more)  # type: ignore[call-arg]
        for _ in range(5):
            walker.zero_grad()
            nn.functional.cross_entropy(model(x), labels).backward()
            walker.step()

    model = prune_l1(cnn(), 0.6, scope=scope)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    with zeros_kept(model):
        steps(model)
    for name, weight in prunable_weights(model).items():
        assert torch.equal(weight == 0, before[name] == 0), name
        assert not torch.equal(weight, before[name]), name
    share = sparsity(model)
    steps(model)
    assert sparsity(model) < share / 2


def test_a_training_that_moves_the_zeros_past_the_gradient_is_refused() -> None:
    model = prune_l1(cnn(), 0.5)
    with pytest.raises(InputError, match=r"training moved pruned weights of '0\.weight'"), zeros_kept(model):
        model[0].weight.data += 1e-3


def test_the_numbers_of_a_model_by_hand() -> None:
    """A quarter of the weights and all biases are left: a file without the zeros is smaller."""
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 4)).eval()
    half = prune_l1(whole, 0.75)
    x = torch.rand(8, 1, 8, 8)
    outcome = evaluate(half, [(x, torch.zeros(8, dtype=torch.int64))], None)
    found = compressed(0.75, half, whole, x[:1], outcome)
    weights = 64 * 64 + 64 * 4
    assert (found.parameters, found.left) == (weights + 68, weights // 4 + 68)
    assert found.sparsity == 0.75
    assert found.plain_bytes >= 4 * found.parameters
    assert found.packed_bytes < 0.5 * found.plain_bytes
    assert found.milliseconds > 0
    assert found.relative_time > 0


def test_rates_are_read() -> None:
    assert parse_rates("0.5,0.1") == [0.1, 0.5]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rates", "50"], "--rates 50: each must be above 0 and below 1"),
        (["--rates", "0.5,0.5"], "and they must differ"),
        (["--rates", "half"], "--rates 'half' is not a number"),
        (["--rates", "0.5", "--scope", "net"], "unknown pruning scope 'net'"),
        (["--rates", "0.5", "--method", "madry"], "give --fine-tune EPOCHS"),
        (["--rates", "0.5", "--fine-tune", "1", "--method", "hope"], "--method 'hope' is unknown"),
        (["--rates", "0.5", "--fine-tune", "1", "--split", "train"], "judge on test, not on train"),
        (["--rates", "0.5", "-o", "t.png"], "is not the name of a .json, .csv, .html, .md or .tex file"),
        (["--rates", "0.5", "--fine-tune", "1", "--learning-rate", "-1"], "learning_rate"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_is_one_line(
    more: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (line,) = failed(arguments(*more), monkeypatch, capsys)
    assert code == 2
    assert re.search(re.escape(message), line), line
