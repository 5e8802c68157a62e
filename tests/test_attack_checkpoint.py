"""An attack cell that is interrupted between two batches resumes after the last stored one."""

import inspect
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import meddef.evaluation.attack_checkpoint as unfinished
import meddef.evaluation.cells as cells
from meddef.attacks import pgd
from meddef.evaluation.cell import Cell
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.metrics import Evaluation
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import CellsFailed, run_plan
from meddef.evaluation.status import run_status
from meddef.records import Record
from meddef.settings import load_profile

PROFILE = """
name: batches
description: four batches of three images, attacked from a random start
image_size: 32
batch_size: 3
datasets:
  - {name: phantom_oct, split_policy: released, sizes: {train: 8, val: 4, test: 12}}
variants: [resnet18]
training: {epochs: 1, batch_size: 8}
grids:
  epsilon: {eps: [0.3], attacks: {pgd: {steps: 2, step_size: 0.3}}}
"""


class Crash(Exception):
    """Stands for a power cut: nothing in the package catches it."""


@pytest.fixture
def plan(tmp_path: Path) -> tuple[Plan, RunOptions, Cell]:
    torch.set_num_threads(1)
    path = tmp_path / "batches.yaml"
    path.write_text(PROFILE)
    options = RunOptions(tmp_path / "run")
    plan = make_plan(load_profile(str(path)), options)
    return plan, options, next(cell for cell in plan.cells if cell.settings.get("attack") == "pgd")


def counting(
    monkeypatch: pytest.MonkeyPatch, *, crash_at: int | None = None, warns: bool = True
) -> list[Tensor]:
    """The attacked batches, as they come; the attack crashes at batch ``crash_at``, and warns at the first."""
    seen: list[Tensor] = []

    def attack(model: nn.Module, images: Tensor, labels: Tensor, **settings: Any) -> Tensor:
        if len(seen) == crash_at:
            raise Crash
        seen.append(images)
        if len(seen) == 1 and warns:
            warnings.warn("said once", stacklevel=1)
        return pgd(model, images, labels, **settings)

    attack.__signature__ = inspect.signature(pgd)  # type: ignore[attr-defined]
    monkeypatch.setitem(cells.ATTACKS, "pgd", partial(attack))
    return seen


def record_of(records: list[Record], cell: Cell) -> Record:
    return next(record for record in records if record["key"] == cell.key)


@pytest.fixture
def unbroken(plan: tuple[Plan, RunOptions, Cell], monkeypatch: pytest.MonkeyPatch) -> Record:
    """The record of an undisturbed run; its file is then taken away, so that the cell is missing again."""
    steps, options, cell = plan
    counting(monkeypatch)
    record = record_of(run_plan(steps, options, InlineExecutor(), inside=False, export=False), cell)
    (options.folder / "cells" / f"{cell.key}.json").unlink()
    return record


@pytest.mark.fault(
    "a long attack is stopped between two batches of images",
    "it resumes after the last stored batch; its record equals that of an uninterrupted run, including warnings",
)
def test_a_stopped_attack_goes_on(
    plan: tuple[Plan, RunOptions, Cell], unbroken: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, options, cell = plan
    monkeypatch.setattr(unfinished, "EVERY_SECONDS", 0.0)
    counting(monkeypatch, crash_at=2)
    with pytest.raises(CellsFailed):
        run_plan(steps, options, InlineExecutor(), inside=False, export=False)
    assert run_status(steps, options.folder).attacking == {cell.label: 6}
    rest = counting(monkeypatch, warns=False)
    again = record_of(run_plan(steps, options, InlineExecutor(), inside=False, export=False), cell)
    assert [len(batch) for batch in rest] == [3, 3]
    assert again == unbroken
    assert unbroken["warnings"] == ["UserWarning: said once"]
    assert not list((options.folder / "unfinished").iterdir())


@pytest.mark.fault(
    "the stored batches of an interrupted attack are damaged",
    "the attack restarts, which is logged",
    says="is damaged",
)
@pytest.mark.parametrize("damage", ["{", '{"size": 3}', "[]"])
def test_damaged_batches_are_not_used(
    plan: tuple[Plan, RunOptions, Cell],
    unbroken: Record,
    damage: str,
    says: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps, options, cell = plan
    path = unfinished.place(options.folder, cell.key)
    path.parent.mkdir()
    path.write_text(damage)
    seen = counting(monkeypatch)
    again = record_of(run_plan(steps, options, InlineExecutor(), inside=False, export=False), cell)
    assert len(seen) == 4
    assert says in caplog.text
    assert again == unbroken


def test_batches_of_another_size_are_not_used(tmp_path: Path) -> None:
    part = Evaluation(*[np.zeros(3, dtype=np.int64)] * 3, 0.5, 2, 4)
    labels = np.zeros(6, dtype=np.int64)
    kept = unfinished.Unfinished(tmp_path / "cell.json", 3, labels)
    kept.parts = [part]
    (tmp_path / "cell.json").write_text(json.dumps(kept._content()))
    assert len(unfinished.Unfinished(tmp_path / "cell.json", 3, labels).parts) == 1
    assert unfinished.Unfinished(tmp_path / "cell.json", 2, labels).parts == []


LABELS = np.array([0, 1, 1, 0, 1])


def kept_batches(path: Path) -> dict[str, Any]:
    """What a stopped attack on five images leaves after two of its three batches."""
    kept = unfinished.Unfinished(path, 2, LABELS)
    kept._saved = float("-inf")
    for start in (0, 2):
        labels = LABELS[start : start + 2]
        kept.add(Evaluation(labels, labels, 1 - labels, 0.5, 2, 2), ["said"])
        kept._saved = float("-inf")
    return dict(json.loads(path.read_text()))


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["parts"].append(content["parts"][0]),
        lambda content: content["parts"].reverse(),
        lambda content: content["parts"][0]["labels"].append(1),
        lambda content: content["parts"][0]["after"].pop(),
        lambda content: content["parts"][0].update(after=[2, 2]),
        lambda content: content["parts"][0].update(linf=None),
        lambda content: content["parts"][0].update(generator=[1]),
        lambda content: content.update(key="other"),
        lambda content: content.update(warnings=3),
    ],
)
def test_batches_that_are_not_those_of_the_cell_are_not_used(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], checksum: bool
) -> None:
    path = tmp_path / "cell.json"
    content = kept_batches(path)
    if not checksum:  # as earlier versions wrote it
        del content["sha256"]
        path.write_text(json.dumps(content))
    assert len(unfinished.Unfinished(path, 2, LABELS).parts) == 2
    change(content)
    path.write_text(json.dumps(content))
    assert unfinished.Unfinished(path, 2, LABELS).parts == []


def test_an_edited_answer_is_seen_by_the_checksum(tmp_path: Path) -> None:
    content = kept_batches(tmp_path / "cell.json")
    content["parts"][0]["after"][0] = 0
    (tmp_path / "cell.json").write_text(json.dumps(content))
    assert unfinished.Unfinished(tmp_path / "cell.json", 2, LABELS).parts == []


def test_a_quick_attack_keeps_nothing(
    plan: tuple[Plan, RunOptions, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, options, _ = plan
    counting(monkeypatch, crash_at=3)
    with pytest.raises(CellsFailed):
        run_plan(steps, options, InlineExecutor(), inside=False, export=False)
    assert not (options.folder / "unfinished").exists()


def test_batches_joined_are_the_whole() -> None:
    parts = [
        Evaluation(np.array([0, 1]), np.array([0, 0]), np.array([1, 0]), 0.1, 7, 2),
        Evaluation(np.array([1]), np.array([1]), np.array([1]), 0.3, 5, 2),
    ]
    whole = unfinished.joined(parts)
    assert whole.labels.tolist() == [0, 1, 1]
    assert whole.after.tolist() == [1, 0, 1]
    assert (whole.linf, whole.l0) == (0.3, 7)
    assert whole.counts.flipped == 1
