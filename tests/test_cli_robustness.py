"""``meddef check-robustness`` on saved weights: a table, JSON, and refusals in one line."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from test_cli_evaluate import folder  # noqa: F401  (a fixture: a model that calls bright images class 1)
from typer.testing import CliRunner

from meddef.cli import app
from meddef.errors import InputError, RunFailed
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget
from meddef.robustness.registry import CHECKS

COMMON = ["check-robustness", "--dataset", "phantom_xray", "-p", "tiny.yaml", "--model", "own_models:net"]


@pytest.fixture(autouse=True)
def _small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "quick", Budget(8, 2, 2, 1, 2, 1, 1))


def given(*more: str, weights: str = "own.safetensors", eps: str = "8/255") -> list[str]:
    return [*COMMON, "-w", weights, "--eps", eps, *more]


@pytest.mark.usefixtures("folder")
def test_the_items_are_printed_as_json_with_numbers() -> None:
    result = CliRunner().invoke(app, given("--json", "--twin-weights", "own.safetensors"))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    items = report["items"]
    assert (report["eps"], report["data"], report["split"]) == (8 / 255, "phantom_xray", "test")
    assert set(report["versions"]) == {"meddef", "torch"}
    assert report["headline"]["images"] == 8
    assert [item["name"] for item in items] == [check.name for check in CHECKS]
    assert {item["verdict"] for item in items} <= {"PASS", "FAIL", "N-A"}
    assert items[0]["numbers"]["images"] == 8


@pytest.mark.usefixtures("folder")
def test_the_table_ends_with_the_counts() -> None:
    result = CliRunner().invoke(app, given())
    assert result.exit_code == 0, result.output
    assert "better_than_one_class" in result.stdout
    told = " ".join(result.stdout.split())
    assert "Checks: " in told
    assert told.endswith("it does not mean that the model is robust.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given("--fail-on", "all"), "--fail-on 'all' is unknown: use FAIL, N-A or never"),
        (given("--budget", "huge"), "--budget 'huge' is unknown: use one of brief, quick, standard"),
        (given(weights="own.pth"), "own.pth looks pickled"),
        (given("--twin-weights", "none.safetensors"), "no weights at none.safetensors"),
        (given("--variant", "full"), "give either --variant .* or --model"),
        (given("-o", "a.png"), "'a.png' is not the name of a .json, .csv, .html, .md or .tex file"),
        (given(eps="0"), "eps must be above 0"),
        (given(eps="8"), "--eps 8 is out of range"),
    ],
)
def test_bad_input_is_refused(folder: Path, arguments: list[str], message: str) -> None:  # noqa: F811
    save_file({}, folder / "own.pth")
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.usefixtures("folder")
def test_a_run_may_be_asked_to_fail() -> None:
    result = CliRunner().invoke(app, given("--fail-on", "N-A"))
    assert isinstance(result.exception, RunFailed)
    assert "N-A: transfer_does_not_win" in str(result.exception) or "N-A: " in str(result.exception)
    result = CliRunner().invoke(app, given("--fail-under", "1", "-o", "kept.md"))
    assert isinstance(result.exception, RunFailed)
    assert Path("kept.md").read_text().splitlines()[0] == f"**{result.stdout.splitlines()[0]}**"
    assert ", 1 required" in str(result.exception)
    assert CliRunner().invoke(app, given("--min-robust", "0", "--fail-on", "never")).exit_code in (0, 1)
