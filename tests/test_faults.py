"""Faults from outside: full disk, read-only folder, edited records, a wrong clock, too little memory."""

import json
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import meddef.evaluation.cells as cells
from meddef.attacks import fgsm
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import missing, run_plan
from meddef.records import RecordStore
from meddef.settings import load_profile

PROFILE = """
name: tiny
description: a test
image_size: 32
datasets:
  - {name: phantom_xray, split_policy: released, sizes: {train: 16, val: 8, test: 12}}
variants: [resnet18]
training: {epochs: 1, batch_size: 8}
grids:
  epsilon: {images: 12, eps: [0.05], attacks: {fgsm: {}}}
"""
FILE_LIMIT = 1_000_000  # bytes; the weights are larger, the records are not


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "tiny.yaml").write_text(PROFILE)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[Plan, RunOptions]:
    torch.set_num_threads(1)
    options = RunOptions(folder / "whole" / "tiny")
    plan = make_plan(load_profile(str(folder / "tiny.yaml")), options)
    run_plan(plan, options, InlineExecutor(), inside=False)
    return plan, options


def reproduce(
    folder: Path, runs_dir: Path, *, file_limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meddef", "reproduce", "--profile", str(folder / "tiny.yaml")]
    limit = None
    if file_limit is not None:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return subprocess.run(
        [*command, "--runs-dir", str(runs_dir), "--no-report", "--jobs", "1"],
        capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip


def test_a_disk_that_takes_no_more_keeps_what_is_recorded(
    folder: Path, whole: tuple[Plan, RunOptions], tmp_path: Path
) -> None:
    full = reproduce(folder, tmp_path, file_limit=FILE_LIMIT)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "File too large" in full.stderr
    assert "run again" in full.stderr
    written = [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < FILE_LIMIT for path in written)
    assert not list((tmp_path / "tiny").rglob("*.safetensors"))
    again = reproduce(folder, tmp_path)
    assert again.returncode == 0, again.stderr
    expected = whole[1].folder / "records.jsonl"
    assert (tmp_path / "tiny" / "records.jsonl").read_bytes() == expected.read_bytes()


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    refused = reproduce(folder, Path("/sys/runs"))  # not even root can make a folder there
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "/sys/runs" in refused.stderr


def test_a_record_edited_by_hand_is_computed_again(whole: tuple[Plan, RunOptions]) -> None:
    plan, options = whole
    before = (options.folder / "records.jsonl").read_bytes()
    path = next(options.folder / "cells" / f"{c.key}.json" for c in plan.cells if c.section == "epsilon")
    content = json.loads(path.read_text())
    content["body"]["records"][0]["correct_after"] = 12
    path.write_text(json.dumps(content))
    assert [cell.key for cell in missing(plan, RecordStore(options.folder))] == [path.stem]
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert (options.folder / "records.jsonl").read_bytes() == before


def test_a_clock_that_went_backwards_changes_nothing(whole: tuple[Plan, RunOptions]) -> None:
    plan, options = whole
    for path in options.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))  # written in 2096
    assert missing(plan, RecordStore(options.folder)) == []


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("you can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_and_says_so(
    whole: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    plan, options = whole
    sizes = []

    def hungry(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
        sizes.append(len(images))
        if len(images) > 3:
            raise error
        return fgsm(model, images, labels, eps=eps)

    monkeypatch.setitem(cells.ATTACKS, "fgsm", partial(hungry))
    victim = next(cell for cell in plan.cells if cell.settings.get("attack") == "fgsm")
    path = options.folder / "cells" / f"{victim.key}.json"
    kept = path.read_bytes()
    path.unlink()
    records = run_plan(plan, options, InlineExecutor(), inside=False, export=False)
    path.write_bytes(kept)
    assert sizes == [12, 12, 8, 4, *[2] * 6]  # the profile asks for batches of 32
    record = next(record for record in records if record["key"] == victim.key)
    said = [f"UserWarning: out of memory: attacked in batches of {n} images" for n in (16, 8, 4, 2)]
    assert record["warnings"] == sorted(said)
    assert record["n"] == 12
