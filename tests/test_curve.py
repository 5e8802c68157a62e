"""A long training with test evaluations: identical to one without them, and reported honestly."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_profile import WITHOUT_MAPS

from meddef.evaluation.cells import train_model
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan, splits_of
from meddef.evaluation.run import run_plan
from meddef.records import Record
from meddef.report import curve
from meddef.report.report import Report
from meddef.settings import load_profile
from meddef.training import trainer

CURVE = "curve: {variants: [resnet18], epochs: 3, every: 2, images: 6, steps: 2}"


def planned(folder: Path) -> tuple[Plan, RunOptions]:
    folder.mkdir(exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(f"{WITHOUT_MAPS}\n{CURVE}\n")
    options = RunOptions(folder / "run")
    plan = make_plan(load_profile(str(path)), options)
    return Plan(plan.profile, tuple(cell for cell in plan.cells if cell.kind in ("data", "curve"))), options


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    plan, options = planned(tmp_path_factory.mktemp("curve"))
    return next(r for r in run_plan(plan, options, InlineExecutor(), inside=False) if r["kind"] == "curve")


def test_looks_are_every_second_epoch_and_the_last(record: Record) -> None:
    assert [point["epochs"] for point in record["points"]] == [2, 3]
    assert all(len(p["before"]) == len(p["after"]) == 6 for p in [*record["points"], record["best"]])
    assert "test" not in record["history"][1], "looks are points, not history"


def test_looks_do_not_move_the_training(record: Record, tmp_path: Path) -> None:
    plan, options = planned(tmp_path)

    cell = plan.cells[-1]
    splits = splits_of(plan.profile.datasets[0], plan.profile, options)
    found, _ = train_model(cell, splits, options.folder, progress=False)
    assert found["history"] == record["history"]


def test_a_run_killed_after_a_look_ends_with_the_same_record(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, options = planned(tmp_path)
    keep = trainer._keep

    def dies(*args: object) -> None:
        keep(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_keep", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_plan(plan, options, InlineExecutor(), inside=False)
    monkeypatch.setattr(trainer, "_keep", keep)
    assert (
        next(r for r in run_plan(plan, options, InlineExecutor(), inside=False) if r["kind"] == "curve")
        == record
    )


def test_the_table_counts_images_by_hand() -> None:
    """Ten images, right at the best epoch 8, at the last 2, of which one new: lost 7, won 1, p = 18/256."""
    labels = "0" * 10
    best, last = (
        {"before": labels, "after": "0000000011"},
        {"epochs": 9, "before": labels, "after": "0111111101"},
    )
    made = {
        "kind": "curve", "dataset": "x", "variant": "full", "training": "adversarial", "seed": 0, "epochs": 9, "n": 10,
        "best_epoch": 3, "labels": labels, "look": {"steps": 20, "eps": 0.03}, "points": [last], "best": best,
    }  # fmt: skip
    report = Report("x", [made], [])
    shown = curve.table(report)
    row = shown.frame.iloc[0]  # type: ignore[union-attr]
    assert (row["best: robust"], row["last: robust"], row["images lost, won"]) == ("80.0", "20.0", "7, 1")
    assert row["p"] == f"{18 / 256:.2g}"
    assert "no clear difference" in curve.verdict(report)


def test_a_profile_without_one_says_so() -> None:
    assert "no long training" in str(curve.table(Report("x", [], [])))
