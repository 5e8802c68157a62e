"""Faults from outside: full disk, read-only folder, edited records, a wrong clock, too little memory."""

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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


def command(folder: Path, runs_dir: Path) -> list[str]:
    start = [sys.executable, "-m", "meddef", "reproduce", "--profile", str(folder / "tiny.yaml")]
    return [*start, "--runs-dir", str(runs_dir), "--no-report", "--jobs", "1"]


def reproduce(
    folder: Path, runs_dir: Path, *, file_limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    limit = None
    if file_limit is not None:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return subprocess.run(
        command(folder, runs_dir), capture_output=True, text=True, check=False, preexec_fn=limit
    )


@pytest.mark.fault(
    "a file-size quota is exceeded (ulimit -f)",
    "exit code 1, no partial files; with more space the same command gives the records of an uninterrupted run",
    says="File too large",
)
def test_a_quota_keeps_what_is_recorded(
    folder: Path, whole: tuple[Plan, RunOptions], tmp_path: Path, says: str
) -> None:
    full = reproduce(folder, tmp_path, file_limit=FILE_LIMIT)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert says in full.stderr
    assert "run again" in full.stderr
    written = [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < FILE_LIMIT for path in written)
    assert not list((tmp_path / "tiny").rglob("*.safetensors"))
    again = reproduce(folder, tmp_path)
    assert again.returncode == 0, again.stderr
    expected = whole[1].folder / "records.jsonl"
    assert (tmp_path / "tiny" / "records.jsonl").read_bytes() == expected.read_bytes()


TMPFS = "set -e; mount -t tmpfs -o size=30m none {runs}; {run} || echo $? > {out}/code; "
TMPFS += "find {runs} -type f > {out}/left; mount -o remount,size=300m none {runs}; {run}; cp {runs}/tiny/*.jsonl {out}"
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.mark.fault(
    "the disk is full (a small tmpfs)",
    "exit code 1, no partial files; with more space the same command gives the records of an uninterrupted run",
    says="No space left on device",
)
def test_a_full_disk_keeps_what_is_recorded(
    folder: Path, whole: tuple[Plan, RunOptions], tmp_path: Path, says: str
) -> None:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False).returncode:
        pytest.skip("needs a mount namespace of its own (unshare)")
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    out.mkdir()
    run = shlex.join(command(folder, runs))
    script = TMPFS.format(runs=runs, out=out, run=run)
    done = subprocess.run([*NAMESPACE, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "code").read_text() == "1\n"
    assert says in done.stderr
    assert "run again" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".safetensors" not in (out / "left").read_text()
    assert (out / "records.jsonl").read_bytes() == (whole[1].folder / "records.jsonl").read_bytes()


@pytest.mark.fault(
    "the run folder is not writable",
    "exit code 1, and the folder is named",
    says="fix this and run the same command again",
)
def test_a_folder_that_cannot_be_written_is_named(folder: Path, says: str) -> None:
    refused = reproduce(folder, Path("/sys/runs"))  # not even root can make a folder there
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "/sys/runs" in refused.stderr
    assert says in refused.stderr


@pytest.mark.fault(
    "a count in a record is edited by hand",
    "the checksum detects it; only this cell is recomputed",
    says="its checksum does not match",
)
def test_a_record_edited_by_hand_is_computed_again(
    whole: tuple[Plan, RunOptions], caplog: pytest.LogCaptureFixture, says: str
) -> None:
    plan, options = whole
    before = (options.folder / "records.jsonl").read_bytes()
    path = next(options.folder / "cells" / f"{c.key}.json" for c in plan.cells if c.section == "epsilon")
    content = json.loads(path.read_text())
    content["body"]["records"][0]["correct_after"] = 12
    path.write_text(json.dumps(content))
    assert [cell.key for cell in missing(plan, RecordStore(options.folder))] == [path.stem]
    assert says in caplog.text
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert (options.folder / "records.jsonl").read_bytes() == before


@pytest.mark.fault(
    "one bit of a model's weights flips on disk",
    "the model is retrained before the next attack uses it, with the same weights",
    says="best.safetensors is damaged: the model will be trained again",
)
def test_weights_that_changed_on_the_disk_are_not_attacked(
    whole: tuple[Plan, RunOptions], caplog: pytest.LogCaptureFixture, says: str
) -> None:
    plan, options = whole
    before = (options.folder / "records.jsonl").read_bytes()
    (weights,) = options.folder.rglob("best.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert missing(plan, RecordStore(options.folder)) == []  # nothing needs them
    lost = next(cell for cell in plan.cells if cell.section == "epsilon")
    (options.folder / "cells" / f"{lost.key}.json").unlink()
    assert [cell.kind for cell in missing(plan, RecordStore(options.folder))] == ["train", "attack"]
    assert says in caplog.text
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert (options.folder / "records.jsonl").read_bytes() == before
    content[-1] ^= 1
    assert weights.read_bytes() == content


@pytest.mark.fault(
    "a model whose weights are lost is trained again on another machine and comes out otherwise",
    "everything that was measured on it is measured again: no table mixes two models",
    says="was measured on other weights than those of its model",
)
def test_results_on_another_model_are_computed_again(
    whole: tuple[Plan, RunOptions], tmp_path: Path, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    plan, options = whole
    here = replace(options, folder=tmp_path / "tiny")
    shutil.copytree(options.folder, here.folder)
    before = (here.folder / "records.jsonl").read_bytes()
    store = RecordStore(here.folder)
    on_models = [cell for cell in plan.cells if cell.requires]
    assert len(on_models) == 3
    (train,) = (cell for cell in plan.cells if cell.kind == "train")
    weights = elsewhere(store, train.key, weights="0" * 64)["weights"]
    for cell in on_models:
        assert elsewhere(store, cell.key, models=["0" * 16])["models"] == [weights[:16]]
    assert missing(plan, store) == []  # as that machine left it
    store.forget(on_models[-1].key)
    next(here.folder.rglob("best.safetensors")).unlink()
    run_plan(plan, here, InlineExecutor(), inside=False)
    assert says in caplog.text
    assert missing(plan, store) == []
    for cell in on_models:
        result = store.get(cell.key)
        assert result is not None
        assert result.provenance["models"] == [weights[:16]]
    assert (here.folder / "records.jsonl").read_bytes() == before


def elsewhere(store: RecordStore, key: str, **found: object) -> dict[str, Any]:
    """Replace circumstances of a cell by those of another machine; returns the earlier ones."""
    result = store.get(key)
    assert result is not None
    store.put(replace(result, provenance=result.provenance | found))
    return result.provenance


@pytest.mark.fault(
    "the clock goes backwards: every file was written in 2096",
    "nothing is recomputed, since keys and checksums decide, not times; a lost cell is recomputed as before",
)
def test_a_clock_that_went_backwards_changes_nothing(whole: tuple[Plan, RunOptions]) -> None:
    plan, options = whole
    before = (options.folder / "records.jsonl").read_bytes()
    lost = options.folder / "cells" / f"{plan.cells[-1].key}.json"
    lost.unlink()
    for path in options.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))
    assert [cell.key for cell in missing(plan, RecordStore(options.folder))] == [lost.stem]
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert (options.folder / "records.jsonl").read_bytes() == before


@pytest.mark.fault(
    "a batch of images does not fit into memory",
    "the batch is halved until it fits, which is recorded",
    says="out of memory: attacked in batches of",
)
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("you can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_and_says_so(
    whole: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch, error: RuntimeError, says: str
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
    said = [f"UserWarning: {says} {n} images" for n in (16, 8, 4, 2)]
    assert record["warnings"] == sorted(said)
    assert record["n"] == 12
