"""``meddef reproduce --trial``: everything of a profile, once and small."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from meddef.cli import app
from meddef.errors import InputError
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.records import RecordStore
from meddef.settings import load_profile, profile_names
from meddef.smoke_test import trial


@pytest.mark.parametrize("name", profile_names())
def test_a_trial_keeps_every_kind_of_cell(name: str) -> None:
    whole = load_profile(name)
    small = trial(whole)
    assert small.name == f"{name}-trial"
    assert (small.image_size, small.variants, small.controls) == (
        whole.image_size,
        whole.variants,
        whole.controls,
    )
    assert {key: list(grid.attacks) for key, grid in small.grids.items()} == {
        key: list(grid.attacks) for key, grid in whole.grids.items()
    }
    assert all(grid.images == 2 for grid in small.grids.values())
    assert len(small.datasets) == len(whole.datasets)
    assert all(dataset.name.startswith("phantom") for dataset in small.datasets)


def test_no_attack_takes_more_than_two_steps() -> None:
    grids = trial(load_profile("paper")).grids
    counts = {
        (attack, name): given[name]
        for grid in grids.values()
        for attack, given in grid.attacks.items()
        for name in ("steps", "queries", "max_steps")
        if name in given
    }
    assert set(counts.values()) == {2}
    assert {("pgd", "steps"), ("bim", "steps"), ("ensemble", "queries"), ("jsma", "max_steps")} <= set(counts)


def test_a_trial_runs_and_builds_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "meddef/profiles/paper.yaml").read_text(encoding="utf-8")
    small = text.replace("image_size: 224", "image_size: 32").replace(
        "[resnet18, no_afd_mfe_msf, no_afd_mfe, no_afd, full]", "[full]"
    )
    for line in ("controls: [full, resnet18]", "  - {name: roct, split_policy: released}"):
        assert line in small
        small = small.replace(line, "")
    (tmp_path / "small.yaml").write_text(small, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    given = ["reproduce", "--profile", "small.yaml", "--trial", "--jobs", "1", "--runs-dir", "runs"]
    assert CliRunner().invoke(app, given).exit_code == 0
    cells = make_plan(trial(load_profile("small.yaml")), RunOptions(tmp_path)).cells
    store = RecordStore(tmp_path / "runs" / "paper-trial")
    assert all(store.get(cell.key) for cell in cells)
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize(
    "given", [["reproduce", "--trial", "--jobs", "1"], ["estimate", "--passes-a-second", "9"]]
)
def test_what_the_run_would_refuse_is_refused_before(given: list[str], tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "meddef/profiles/smoke.yaml").read_text(encoding="utf-8")
    place = tmp_path / "short.yaml"
    for old, new, said in (
        ("pgd: {steps: 8}", "pgd: {steps: 7, step_size: 0.004}", "leave step_size out"),
        ("pgd: {steps: 6, step_size: 0.02}", "pgd: {steps: 6, step_size: 0.01}", "at least 0.01667, leave"),
    ):
        assert old in text
        place.write_text(text.replace(old, new), encoding="utf-8")
        result = CliRunner().invoke(app, [*given, "--profile", str(place)])
        assert isinstance(result.exception, InputError)
        assert said in str(result.exception)
        assert "\n" not in str(result.exception)
