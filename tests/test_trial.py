"""``meddef reproduce --trial``: everything of a profile, once and small."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from meddef.cli import app
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.records import RecordStore
from meddef.settings import load_profile, profile_names
from meddef.trial import trial


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
