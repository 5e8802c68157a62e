"""``meddef lab``: files that appear whole, parts that are kept, reports on the models of a profile."""

import json
import pickle
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_profile import TINY
from typer.testing import CliRunner

from meddef.cli import app
from meddef.errors import InputError
from meddef.evaluation.cell import Cell
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import run_plan
from meddef.laboratory import experiment, of_profile, reports
from meddef.laboratory.parts import Part, compute
from meddef.paper import VARIANT_LABELS
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget
from meddef.robustness.registry import CHECKS
from meddef.settings import Profile, load_profile

FIVE = (
    TINY.replace("sizes: {train: 16, val: 8, test: 12}", "sizes: {train: 16, val: 8, test: 32}")
    .replace("epochs: 2", "epochs: 1")
    .replace("[resnet18, no_afd_mfe]", str([*VARIANT_LABELS]))
)


def lab(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["lab", "-j", "1", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDDEF_DATA_DIR", raising=False)
    return tmp_path


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Parts of the laboratory that take no time and say when they ran."""
    ran: list[str] = []

    def run(kind: str) -> Any:
        def inside(name: str, *, data_dir: Path | None) -> Iterator[dict[str, Any]]:
            ran.append(f"{kind} {name}")
            yield {"dataset": name, "detail": "ε"}

        return inside

    monkeypatch.setattr(experiment, "run", run("tables"))
    monkeypatch.setattr(reports, "run", run("robustness"))
    return ran


def test_every_dataset_has_its_files(here: Path, instant: list[str]) -> None:
    lab()
    names = [f"{kind}_{name}.jsonl" for kind in ("provenance", "robustness", "tables") for name in
             ("phantom_oct", "phantom_xray")]  # fmt: skip
    assert sorted(path.name for path in (here / "results" / "lab").iterdir()) == names
    assert (here / "results/lab/tables_phantom_oct.jsonl").read_text() == (
        '{"dataset": "phantom_oct", "detail": "ε"}\n'
    )
    made = rows(here / "results/lab/provenance_phantom_oct.jsonl")
    assert [row["part"] for row in made] == ["tables of phantom_oct", "robustness of phantom_oct"]
    assert all("commit" in row and "seconds" in row for row in made)


def test_a_run_that_fails_writes_no_file_and_goes_on_where_it_was(
    here: Path, instant: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, *, data_dir: Path | None) -> list[dict[str, Any]]:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(reports, "run", broken)
        with pytest.raises(RuntimeError, match="planted"):
            lab("--dataset", "phantom_oct")
    assert not (here / "results").exists()
    lab("--dataset", "phantom_oct")
    assert instant == ["tables phantom_oct", "robustness phantom_oct"]
    lab("--dataset", "phantom_oct")
    assert len(instant) == 2


def part(value: int) -> Part:
    return Part("f", f"part {value}", lambda: [{"value": value}], {"i": value})


def test_parts_done_at_once_are_given_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def threads(jobs: int) -> Iterator[tuple[Executor, int]]:  # processes would import torch anew
        with ThreadPoolExecutor(jobs) as executor:
            yield executor, jobs

    monkeypatch.setattr("meddef.laboratory.parts.make_executor", threads)
    parts = [part(i) for i in range(3)]
    alone, together = (compute(parts, tmp_path / str(jobs), jobs) for jobs in (1, 2))
    assert [result.records for result in alone] == [[{"value": i}] for i in range(3)]
    assert [result.records for result in together] == [result.records for result in alone]


def test_what_goes_to_another_process_can_be_pickled(trained: tuple[Path, Profile]) -> None:
    folder, profile = trained
    (first, *_) = of_profile.parts(
        profile, RunOptions(folder / "runs" / "tiny"), radii=[0.03], budget="brief"
    )
    assert pickle.loads(pickle.dumps(first)).key == first.key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "octdl", "--profile", "smoke"), "profile 'smoke' has no dataset octdl: it has phantom_oct,"),
        (("--eps", "0.03"), "--eps and --budget are for the reports of a profile"),
        (("--profile", "smoke", "--budget", "huge"), "--budget 'huge' is unknown: use one of brief, quick, standard"),
        (("--profile", "smoke", "--eps", "8"), "--eps 8 is out of range"),
        (("--dataset", "chest_xray"), "no data folder given"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(here: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lab(*arguments)
    assert not (here / "results").exists()


def test_real_images_are_taken_where_there_is_a_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meddef.commands.lab import _datasets

    assert _datasets(None) == ["phantom_oct", "phantom_xray"]
    (here / "data" / "chest_xray").mkdir(parents=True)
    assert _datasets(here / "data") == ["phantom_oct", "phantom_xray", "chest_xray"]
    monkeypatch.setenv("MEDDEF_DATA_DIR", str(here / "data"))
    assert _datasets(None)[-1] == "chest_xray"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Profile]:
    """A folder with a profile whose five models are trained."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(FIVE)
    profile = load_profile(str(folder / "tiny.yaml"))
    options = RunOptions(folder / "runs" / "tiny")
    plan = make_plan(profile, options)
    models = Plan(profile, tuple(cell for cell in plan.cells if cell.kind == "train"))
    run_plan(models, options, InlineExecutor(), inside=False, export=False)
    return folder, profile


def test_the_models_of_a_profile_are_reported_on(
    trained: tuple[Path, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, profile = trained
    monkeypatch.chdir(folder)
    monkeypatch.setitem(BUDGETS, "brief", Budget(32, 1, 1, 1, 1, 1, 1))
    lab("--profile", "tiny.yaml", "--budget", "brief")
    found = rows(folder / "results" / "lab" / "robustness_tiny.jsonl")
    models = list(dict.fromkeys(row["model"] for row in found))
    assert models == [*VARIANT_LABELS.values()]
    for model in models:
        assert [row["name"] for row in found if row["model"] == model] == [check.name for check in CHECKS]
    twins = {row["model"]: row["twin"] for row in found}
    assert twins == {name: None if name == "ResNet18" else "ResNet18" for name in models}
    verdicts = {(row["model"], row["name"]): row["verdict"] for row in found}
    assert verdicts["ResNet18", "twin_falls"] == "N-A"
    assert verdicts["MedDef w/o AFD+MFE", "attack_stays_in_bounds"] == "PASS"
    assert {row["eps"] for row in found} == {of_profile.trained_epsilon(profile)} == {0.01}  # of one epoch
    assert of_profile.trained_epsilon(load_profile("smoke")) == 0.03
    assert {(row["source_of_models"], row["budget"], row["dataset"], row["seed"]) for row in found} == {
        ("profile tiny", "brief", "phantom_oct", profile.seeds[0])
    }
    assert len(rows(folder / "results" / "lab" / "provenance_tiny.jsonl")) == 5
    monkeypatch.setattr(of_profile, "report", lambda *given, **more: pytest.fail("computed again"))
    lab("--profile", "tiny.yaml", "--budget", "brief")


def test_two_radii_are_two_reports(trained: tuple[Path, Profile]) -> None:
    folder, profile = trained
    parts = of_profile.parts(
        profile, RunOptions(folder / "runs" / "tiny"), radii=[0.03, 0.01], budget="brief"
    )
    assert [part.label.rpartition("ε = ")[2] for part in parts] == ["0.03", "0.01"] * 5
    assert len({part.key for part in parts}) == 10


def test_the_twin_of_a_defended_model_is_itself_without_the_defence_or_else_resnet18() -> None:
    def cell(variant: str, training: str) -> Cell:
        return Cell("train", "d", {"variant": variant, "training": training})

    known = {model: cell(*model) for model in (("resnet18", "clean"), ("resnet18", "adversarial"))}
    assert of_profile.twin_of(("resnet18", "clean"), known) is None
    assert of_profile.twin_of(("resnet18", "adversarial"), known) is known["resnet18", "clean"]
    assert of_profile.twin_of(("full", "adversarial"), known) is known["resnet18", "clean"]
    known["full", "clean"] = cell("full", "clean")
    assert of_profile.twin_of(("full", "adversarial"), known) is known["full", "clean"]
    assert of_profile.twin_of(("full", "clean"), known) is known["resnet18", "clean"]
    assert of_profile.twin_of(("full", "clean"), {}) is None


def test_a_model_without_weights_is_named(trained: tuple[Path, Profile], tmp_path: Path) -> None:
    _, profile = trained
    with pytest.raises(InputError, match=r"ResNet18 on phantom_oct has no weights in .*'meddef reproduce"):
        of_profile.parts(profile, RunOptions(tmp_path), radii=[0.03], budget="brief")
