"""What a run publishes: whole models only, from which a machine without the weights can go on."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from meddef.cli import app
from meddef.evaluation.cell import Cell
from meddef.evaluation.plan import Plan
from meddef.evaluation.publication import publishable
from meddef.records import CellResult, RecordStore, load_records
from meddef.settings import load_profile

DATA = Cell("data", "d", {"fingerprint": "f"})
FIRST, SECOND = (Cell("train", "d", {"variant": "resnet18", "seed": seed, "data": "f"}) for seed in (0, 1))
ON_FIRST, ON_SECOND = (
    Cell("attack", "d", {"variant": "resnet18", "seed": seed, "data": "f"}, needs=train.key)
    for seed, train in enumerate((FIRST, SECOND))
)
BETWEEN = Cell("transfer", "d", {"data": "f", "targets": [FIRST.key, SECOND.key]}, needs=SECOND.key)
PLAN = Plan(load_profile("smoke"), (DATA, FIRST, ON_FIRST, SECOND, ON_SECOND, BETWEEN))


def put(store: RecordStore, *cells: Cell) -> None:
    for cell in cells:
        record = {"kind": cell.kind, "dataset": "d", "fingerprint": "f", "data_fingerprint": "f"}
        store.put(CellResult(cell.key, [record], {}, cell.content))


def test_a_model_is_published_when_nothing_of_its_own_is_missing(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    assert publishable(PLAN, store).keys == ()
    put(store, DATA, FIRST, SECOND, ON_SECOND, BETWEEN)
    assert set(publishable(PLAN, store).keys) == {DATA.key, SECOND.key, ON_SECOND.key}
    put(store, ON_FIRST)
    found = publishable(PLAN, store)
    assert set(found.keys) == {cell.key for cell in PLAN.cells}
    assert (found.whole, found.models) == (2, 2)
    store.forget(BETWEEN.key)
    assert set(publishable(PLAN, store).keys) == {cell.key for cell in PLAN.cells} - {BETWEEN.key}
    store.forget(ON_SECOND.key)
    found = publishable(PLAN, store)
    assert set(found.keys) == {DATA.key, FIRST.key, ON_FIRST.key}
    assert (found.whole, found.models) == (1, 2)


PROFILE = """
name: tiny
description: a test
image_size: 32
datasets:
  - {name: phantom_xray, split_policy: released, sizes: {train: 16, val: 8, test: 12}}
variants: [resnet18]
seeds: [0, 1]
training: {epochs: 1, batch_size: 8}
grids:
  epsilon: {images: 12, eps: [0.05], attacks: {fgsm: {}}}
"""


def test_another_machine_goes_on_from_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    call = CliRunner().invoke
    shared = ["--profile", "tiny.yaml", "--runs-dir"]
    quiet = ["--no-report", "--jobs", "1"]
    refused = call(app, ["publish", *shared, "first"])
    assert "no model of profile 'tiny' is finished" in str(refused.exception)
    assert call(app, ["reproduce", *shared, "first", *quiet]).exit_code == 0
    whole = load_records("first", "tiny")
    lost = next(r["key"] for r in whole if (r.get("attack"), r.get("seed")) == ("fgsm", 1))
    RecordStore(Path("first/tiny")).forget(lost)
    told = call(app, ["publish", *shared, "first"])
    assert told.stdout.endswith("1 of 2 models, 5 of 9 cells: results/tiny\n")
    assert {r["seed"] for r in load_records("results", "tiny") if r["kind"] == "train"} == {0}
    again = call(app, ["reproduce", *shared, "second", *quiet, "--adopt", "results/tiny"])
    assert "9 cells, 4 to compute" in again.stdout
    assert load_records("second", "tiny") == whole
