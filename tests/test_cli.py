"""The command line: help, one line and exit code 2 for bad input, and a whole small run."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from meddef.cli import app, main
from meddef.commands.attacks import parse_eps
from meddef.commands.run import check_device
from meddef.errors import InputError

TINY = """
name: tiny
description: a test
image_size: 32
datasets: [{name: phantom_xray, split_policy: released, sizes: {train: 16, val: 8, test: 8}}]
variants: [resnet18]
training: {epochs: 1, batch_size: 8, adversarial: {steps: 1}}
grids: {epsilon: {images: 4, eps: [0.05], attacks: {fgsm: {}}}}
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return "tiny.yaml"


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run ``meddef`` with bad input; exit code 2, one line on stderr, which is returned."""
    monkeypatch.setattr(sys, "argv", ["meddef", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    "command",
    ["data", "train", "evaluate", "attacks", "reproduce", "estimate", "status", "audit", "book", "course"],
)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_does_not_import_torch() -> None:
    code = "import sys; import meddef.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--profile", "smok"], "unknown profile 'smok'"),
        (["reproduce", "--profile", "none.yaml"], "'none.yaml' does not exist"),
        (["reproduce", "--profile", "tiny.yaml", "--only", "tables"], "unknown section 'tables'"),
        (["reproduce", "--profile", "tiny.yaml", "--device", "tpu9"], "device 'tpu9'"),
        (["reproduce", "--profile", "tiny.yaml", "--device", "meta"], "'meta' is not supported"),
        (["reproduce", "--profile", "tiny.yaml", "--data-dir", "nowhere"], "'nowhere' is not a folder"),
        (
            ["train", "--dataset", "cats", "--variant", "full", "-o", "x", "-p", "tiny.yaml"],
            "unknown dataset 'cats'",
        ),
        (
            ["train", "--dataset", "phantom_xray", "--variant", "ful", "-o", "x", "-p", "tiny.yaml"],
            "unknown variant 'ful'",
        ),
        (
            ["train", "--variant", "full"],
            "profile 'smoke' has several datasets: give --dataset, one of phantom_oct",
        ),
        (
            ["evaluate", "--dataset", "phantom_xray", "--variant", "full", "-w", "x", "--eps", "8"],
            "8/255, not 8",
        ),
        (
            [
                "evaluate",
                "--dataset",
                "phantom_xray",
                "--variant",
                "full",
                "-w",
                "x.safetensors",
                "-p",
                "tiny.yaml",
            ],
            "no weights at x.safetensors",
        ),
        (
            [
                "evaluate",
                "--dataset",
                "phantom_xray",
                "--variant",
                "full",
                "-w",
                "x",
                "--attack",
                "mine",
                "-p",
                "tiny.yaml",
            ],
            "unknown attack 'mine'",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tiny: str,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in refused(arguments, monkeypatch, capsys)
    assert not Path("runs").exists()  # nothing half-written


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="sees no CUDA GPU here"):
        check_device("cuda")


@pytest.mark.parametrize(
    ("text", "value"), [("0.05", 0.05), ("8/255", 8 / 255), (" 1 / 2 ", 0.5), ("0", 0.0)]
)
def test_eps_takes_fractions(text: str, value: float) -> None:
    assert parse_eps(text) == value


@pytest.mark.parametrize("text", ["-0.1", "8", "1/0", "small", "nan"])
def test_bad_eps_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--eps"):
        parse_eps(text)


def test_dry_run_prints_the_plan_and_computes_nothing(tiny: str) -> None:
    result = CliRunner().invoke(app, ["reproduce", "-p", tiny, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "5 cells, 5 to compute" in result.output
    assert not list(Path("runs").rglob("*.json"))


def test_a_control_is_trained_the_other_way(tiny: str) -> None:
    trained = CliRunner().invoke(app, ["train", "--variant", "resnet18", "--control", "-p", tiny])
    assert trained.exit_code == 0, trained.output
    assert "best.safetensors: best epoch 1 of 1" in trained.output
    assert "under PGD" in trained.output


def test_a_model_whose_record_came_without_weights_is_trained_again(tiny: str) -> None:
    given = ["train", "--variant", "resnet18", "-p", tiny, "-o", "out.safetensors"]
    for _ in range(2):
        trained = CliRunner().invoke(app, given)
        assert trained.exit_code == 0, trained.output
        (weights,) = Path("runs").rglob("best.safetensors")
        assert Path("out.safetensors").read_bytes() == weights.read_bytes()
        weights.unlink()


def test_train_then_evaluate_then_reproduce_reuses_the_model(tiny: str) -> None:
    run = CliRunner()
    given = ["--dataset", "phantom_xray", "--variant", "resnet18", "-p", tiny]
    trained = run.invoke(app, ["train", *given, "-o", "out/model.safetensors"])
    assert trained.exit_code == 0, trained.output
    assert "best epoch 1 of 1" in trained.output
    attacked = run.invoke(
        app, ["evaluate", *given, "-w", "out/model.safetensors", "--attack", "fgsm", "--eps", "8/255"]
    )
    assert attacked.exit_code == 0, attacked.output
    assert "robust accuracy" in attacked.output
    assert "largest change of a pixel 0.0314" in attacked.output
    planned = run.invoke(app, ["reproduce", "-p", tiny, "--dry-run"])
    assert "5 cells, 4 to compute" in planned.output
    done = run.invoke(app, ["reproduce", "-p", tiny, "--no-report", "-j", "1"])
    assert done.exit_code == 0, done.output
    again = run.invoke(app, ["reproduce", "-p", tiny, "--no-report", "-j", "1"])
    assert "all 5 cells are up to date" in again.output


def test_paragraphs_of_the_help_fit_terminals_of_any_width() -> None:
    """A paragraph is one line, which the terminal wraps: source lines would leave ragged ones below 120 columns."""
    shown = {name: command.help for name, command in typer.main.get_command(app).commands.items()}
    assert all(text and "\n" not in paragraph for text in shown.values() for paragraph in text.split("\n\n"))
    text = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "60"}).output
    told = " ".join(text.split("╭")[0].split())
    assert "by patient where patients have several images. Weights that 'meddef train' wrote" in told
